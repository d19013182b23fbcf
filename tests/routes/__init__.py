"""Every route of the site: found in the URL conf, and declared here with what it takes and leaves.

The URL conf says which routes exist; the tables say how each is called with success, which right
it needs and what it writes to the audit log. A route that is missing from them fails a test.
"""

from tests.routes.accounts import ACCOUNTS
from tests.routes.batches import BATCHES
from tests.routes.bundles import BUNDLES
from tests.routes.commands import COMMANDS
from tests.routes.devices import DEVICES
from tests.routes.governance import GOVERNANCE
from tests.routes.library import LIBRARY
from tests.routes.recovery import RECOVERY
from tests.routes.releases import RELEASES
from tests.routes.rollouts import ROLLOUTS
from tests.routes.service import SERVICE
from tests.routes.shapes import (
    Body,
    Entry,
    Found,
    Operation,
    api_routes,
    fill,
    found_routes,
    parameters,
)
from tests.routes.trust import TRUST
from tests.routes.updates import UPDATES

OPERATIONS = [
    *SERVICE,
    *ACCOUNTS,
    *DEVICES,
    *COMMANDS,
    *BATCHES,
    *LIBRARY,
    *BUNDLES,
    *RELEASES,
    *TRUST,
    *ROLLOUTS,
    *UPDATES,
    *RECOVERY,
    *GOVERNANCE,
]

__all__ = [
    "OPERATIONS",
    "Body",
    "Entry",
    "Found",
    "Operation",
    "api_routes",
    "fill",
    "found_routes",
    "parameters",
]
