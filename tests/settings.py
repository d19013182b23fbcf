"""The settings of a test run: servers of its own first, then the product's settings.

pytest-django reads the settings before any conftest.py, so the servers have to start here. In a
run with several workers the controlling process starts them, and the workers inherit their
addresses through the environment. A DATABASE_URL or REDIS_URL that is set is used instead.
"""

import os
from pathlib import Path

from fleetsite.embedded import start_for_tests
from tests import migrated

_wanted = {"postgres": "DATABASE_URL", "valkey": "REDIS_URL"}
_missing = {server: name not in os.environ for server, name in _wanted.items()}
if any(_missing.values()):
    _found, _stop = start_for_tests(Path(__file__).parents[1] / ".test-servers", **_missing)
    for _name, _value in _found.items():
        os.environ.setdefault(_name, _value)
    if _missing["postgres"]:
        migrated.begin()

from fleetsite.settings import *  # noqa: E402,F403

# What signs the scripts of tests.
SIGNING_KEY = "5a" * 32

# Hashing a password is made slow on purpose; tests of signing in do it hundreds of times.
PASSWORD_HASHERS = ["tests.hashers.QuickHasher"]

# Every test client makes the middleware anew; reading all static files each time took a tenth of
# the run. Looked for when asked for, they are served as before.
WHITENOISE_AUTOREFRESH = True

# A world's transaction stays open for a whole module, however slow the machine is.
DATABASES["default"]["OPTIONS"]["options"] += " -c idle_in_transaction_session_timeout=0"  # noqa: F405 - as above
