"""Who may do what, on every route of the API, derived from the one policy table."""

import pytest

from accounts.permissions import HoldsRight
from accounts.policy import DEVICE, POLICY, Action, Role, is_allowed
from tests.calls import call, content
from tests.identities import NAMES, Identity, World
from tests.routes import OPERATIONS, Operation, api_routes
from tests.world import rolled_back

pytestmark = pytest.mark.django_db

CALLERS = [name for name in NAMES if name != "stranger"]
ROUTES = api_routes()
# Doors of those who have no right yet.
PUBLIC = {"auth-token", "auth-refresh", "device-register"}


def expected(operation: Operation, caller: Identity) -> int:
    """Return the status the policy table and the operation's own facts lead to."""
    if caller.name in operation.expect:
        return operation.expect[caller.name]
    if caller.name == "anonymous":
        return 401
    action = ROUTES[operation.route].actions.get(operation.method)
    if operation.route == "device-register":
        action = Action.DEVICE_REGISTER
    if action is None or not is_allowed(caller.role, action):
        return 403
    return operation.status


def seen(operation: Operation, caller: Identity, world: World) -> int:
    """Do the operation on rows the caller may reach; return the status."""
    with rolled_back():
        response = call(operation, ROUTES[operation.route], caller, world.acme.names)
        content(response)
        return int(response.status_code)


def test_every_method_of_every_api_route_is_in_the_table():
    declared = {(operation.route, operation.method) for operation in OPERATIONS}
    offered = {(name, method) for name, route in ROUTES.items() for method in route.actions}
    offered |= {(name, "POST") for name in PUBLIC}

    assert offered - declared == set()
    assert declared - offered == set()


def test_every_api_route_names_the_right_each_of_its_methods_needs():
    nameless = []
    for name, route in ROUTES.items():
        view = route.view.view_class
        handlers = {m.upper() for m in view.http_method_names if hasattr(view, m)}
        handlers -= {"OPTIONS", "HEAD"}
        if name not in PUBLIC and (
            handlers != set(view.actions) or HoldsRight not in view.permission_classes
        ):
            nameless.append(name)

    assert nameless == []


@pytest.mark.parametrize("operation", OPERATIONS, ids=str)
def test_each_caller_gets_what_the_policy_table_says(world: World, operation: Operation):
    callers = [world.identities[name] for name in CALLERS]

    statuses = {caller.name: seen(operation, caller, world) for caller in callers}

    assert statuses == {caller.name: expected(operation, caller) for caller in callers}


@pytest.mark.parametrize(
    "operation", [one for one in OPERATIONS if one.route not in PUBLIC], ids=str
)
def test_without_the_permission_somebody_would_get_more(
    world: World, operation: Operation, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(HoldsRight, "has_permission", lambda *_: True)
    callers = [world.identities[name] for name in CALLERS]

    assert any(seen(operation, caller, world) != expected(operation, caller) for caller in callers)


def test_the_policy_table_holds_the_core_everybody_was_promised():
    """Viewers read, operators read and update devices and create commands, admins do all."""
    people = [action for action, roles in POLICY.items() if roles - {DEVICE}]
    reads = {Action.DEVICE_READ, Action.COMMAND_READ, Action.ORGANIZATION_READ, Action.GROUP_READ}
    operates = {Action.DEVICE_READ, Action.DEVICE_UPDATE, Action.COMMAND_CREATE}

    assert all(is_allowed(Role.VIEWER, action) for action in reads)
    assert all(is_allowed(Role.OPERATOR, action) for action in operates)
    assert not any(
        is_allowed(Role.VIEWER, action)
        for action in Action
        if not action.value.endswith((".read", ".inspect"))
        or action in {Action.USER_READ, Action.AUDIT_READ}
    )
    assert all(is_allowed(Role.ADMIN, action) for action in people)


def test_an_action_nobody_decided_on_is_allowed_to_nobody(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delitem(POLICY, Action.DEVICE_READ)

    assert not any(is_allowed(role, Action.DEVICE_READ) for role in [*Role.values, DEVICE])
