"""PostgreSQL and Valkey from Python wheels, run as separate processes on private sockets.

Nothing here imports Django: `manage.py up` starts these servers before Django is set up, the
settings ask `environment` where they are, and the tests start throw-away ones.
"""

from fleetsite.embedded.errors import EmbeddedError
from fleetsite.embedded.postgres import EmbeddedPostgres
from fleetsite.embedded.servers import Servers, environment
from fleetsite.embedded.throwaway import start_for_tests
from fleetsite.embedded.valkey import EmbeddedValkey

__all__ = [
    "EmbeddedError",
    "EmbeddedPostgres",
    "EmbeddedValkey",
    "Servers",
    "environment",
    "start_for_tests",
]
