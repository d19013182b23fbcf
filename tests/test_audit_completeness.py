"""Every act over the API leaves exactly its entries in the audit log: who, where, on what."""

import json
from uuid import UUID

import pytest

from accounts.models import User
from audit.models import AuditEntry
from common.ids import NIL_UUID
from tests.calls import call, content
from tests.gateway_routes import GATEWAY
from tests.identities import Identity, World
from tests.routes import OPERATIONS, Entry, Operation, api_routes

pytestmark = pytest.mark.django_db

ROUTES = api_routes()
UNSAFE = {"POST", "PUT", "PATCH", "DELETE"}
LOGGED = [one for one in OPERATIONS if one.entries]
REQUEST_ID = "a-request-of-this-test"


def acting(operation: Operation, world: World) -> Identity:
    return world.identities["device" if operation.by_device else "admin"]


def actor_of(operation: Operation, caller: Identity, world: World) -> tuple[str, str, str]:
    """Return type, id and label of whom the entries must name."""
    if operation.route == "auth-token":
        member = world.acme.users[0]
        return "user", str(member.pk), member.email
    if operation.by_device:
        device = world.acme.device
        return "device", str(device.pk), device.device_id
    assert caller.user is not None
    return "user", str(caller.user.pk), caller.user.email


def target_of(entry: Entry, answer: dict[str, str], world: World) -> str | None:
    """Return the id of what was acted on: named by the request, or made by it."""
    if not entry.target_type:
        return ""
    if entry.target:
        return world.acme.names[entry.target]
    results = answer.get("results")
    made = results[0] if isinstance(results, list) else answer
    return made.get("id") or made.get("request_id")


def test_every_unsafe_operation_says_what_it_leaves_in_the_log():
    silent = [
        str(one)
        for one in [*OPERATIONS, *GATEWAY]
        if getattr(one, "method", "POST") in UNSAFE
        and not getattr(one, "entries", ())
        and not one.unlogged
    ]

    assert silent == []


@pytest.mark.parametrize("operation", LOGGED, ids=str)
def test_an_act_leaves_exactly_its_entries(world: World, operation: Operation):
    caller = acting(operation, world)
    if operation.by_owner:
        User.objects.filter(pk=caller.user.pk).update(is_superuser=True)
        caller.headers = {**caller.headers, "X-Organization": world.acme.names["slug"]}
    known = set(AuditEntry.objects.values_list("pk", flat=True))
    caller.headers = {**caller.headers, "X-Request-ID": REQUEST_ID}

    response = call(operation, ROUTES[operation.route], caller, world.acme.names)
    body = content(response)

    assert response.status_code == operation.status
    answer = json.loads(body) if body.startswith(b"{") else {}
    entries = list(AuditEntry.objects.exclude(pk__in=known).order_by("seq"))
    assert [(one.action, one.target_type) for one in entries] == [
        (expected.action, expected.target_type) for expected in operation.entries
    ]
    # Signing in belongs to no organisation yet.
    owner = NIL_UUID if operation.route == "auth-token" else world.acme.organization.pk
    owner = UUID(answer["id"]) if operation.by_owner else owner
    for entry, expected in zip(entries, operation.entries, strict=True):
        assert (entry.actor_type, entry.actor_id, entry.actor) == actor_of(operation, caller, world)
        assert entry.organization_id == owner
        assert entry.request_id == REQUEST_ID
        wanted = target_of(expected, answer, world)
        assert entry.target_id == wanted if wanted is not None else entry.target_id != ""


@pytest.mark.parametrize(
    "operation", [one for one in OPERATIONS if not one.entries and one.method == "GET"], ids=str
)
def test_reading_leaves_nothing_in_the_log(world: World, operation: Operation):
    caller = world.identities["admin"]
    before = AuditEntry.objects.count()

    content(call(operation, ROUTES[operation.route], caller, world.acme.names))

    assert AuditEntry.objects.count() == before


def test_a_refused_act_leaves_nothing_in_the_log(world: World):
    own = AuditEntry.objects.filter(organization_id=world.acme.organization.pk)
    before = own.count()

    for operation in LOGGED:
        # Signing in is everybody's.
        if operation.route != "auth-token":
            for name in ("anonymous", "viewer", "stranger"):
                caller = world.identities[name]
                content(call(operation, ROUTES[operation.route], caller, world.acme.names))

    assert own.count() == before


def test_an_act_of_an_api_key_names_the_key(world: World):
    caller = world.identities["key"]
    operation = next(one for one in OPERATIONS if str(one) == "PATCH device")

    call(operation, ROUTES["device"], caller, world.acme.names)

    entry = AuditEntry.objects.filter(action="device.update").order_by("-seq").first()
    assert entry is not None
    assert (entry.actor_type, entry.actor) == ("api_key", "API key a key")
