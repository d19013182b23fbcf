"""Every route of the site: found in the URL conf, and declared here with what it takes and leaves.

The URL conf says which routes exist; the table says how each is called with success, which right
it needs and what it writes to the audit log. A route that is missing from the table fails a test.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from django.urls import URLPattern, URLResolver, get_resolver

from accounts.policy import Action
from tests.world import Names

PREFIX = "api/v1/"
Body = Callable[[Names], Any]


@dataclass(frozen=True)
class Found:
    """A route of the URL conf."""

    name: str
    path: str
    view: Any

    @property
    def is_api(self) -> bool:
        return self.path.startswith(PREFIX)

    @property
    def actions(self) -> dict[str, Action]:
        """The right each method needs, as the view declares it."""
        actions: dict[str, Action] = getattr(getattr(self.view, "view_class", None), "actions", {})
        return actions


def found_routes() -> list[Found]:
    """Return every route of the URL conf."""
    return list(_walk(get_resolver().url_patterns, "", ""))


def _walk(patterns: list[Any], prefix: str, namespace: str) -> Iterator[Found]:
    for pattern in patterns:
        path = prefix + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            inside = f"{namespace}{pattern.namespace}:" if pattern.namespace else namespace
            yield from _walk(pattern.url_patterns, path, inside)
        elif isinstance(pattern, URLPattern):
            yield Found(f"{namespace}{pattern.name}", path, pattern.callback)


def api_routes() -> dict[str, Found]:
    """Return the API's routes by name."""
    return {route.name: route for route in found_routes() if route.is_api}


@dataclass(frozen=True)
class Entry:
    """An audit entry an operation leaves; without `target` the answer's `id` is its target."""

    action: str
    target_type: str = ""
    target: str = ""


@dataclass(frozen=True)
class Operation:
    """One method of one route, and how it is done once with success.

    `path` says which of `Names` stands for a path parameter of another name. `entries` are the
    audit entries it leaves; `unlogged` is the reason why an unsafe method leaves none. `expect`
    are the statuses by identity where the right alone does not decide.
    """

    route: str
    method: str
    status: int = 200
    path: dict[str, str] = field(default_factory=dict)
    body: Body | None = None
    also: tuple[Body, ...] = ()
    content_type: str = "application/json"
    entries: tuple[Entry, ...] = ()
    unlogged: str = ""
    expect: dict[str, int] = field(default_factory=dict)
    # Only a device holds what this needs; the audit test then acts as one.
    by_device: bool = False

    def __str__(self) -> str:
        return f"{self.method} {self.route}"

    def url(self, route: Found, names: Names) -> str:
        """Return the address with every parameter filled from `names`."""
        return "/" + fill(route.path, {**names, **{p: names[n] for p, n in self.path.items()}})


def parameters(path: str) -> list[str]:
    """Return the names of a path's parameters."""
    return [piece.split(">")[0].split(":")[-1] for piece in path.split("<")[1:]]


def fill(path: str, values: Names) -> str:
    """Fill a path's parameters."""
    first, *pieces = path.split("<")
    filled = [first]
    for piece in pieces:
        name, rest = piece.split(">", 1)
        filled.append(values[name.split(":")[-1]] + rest)
    return "".join(filled)


def _get(route: str, **fields: Any) -> Operation:
    return Operation(route, "GET", **fields)


def _config(names: Names) -> dict[str, Any]:
    return {"type": "config", "payload": {"changes": {"NOTE": "x"}}}


def _push(names: Names) -> dict[str, Any]:
    return {
        "device_id": names["device_id"],
        "command_type": "config",
        "payload": {"changes": {"NOTE": "x"}},
    }


PK = {"pk": "command_id"}
KEY = {"pk": "api_key_id"}
TOKEN = {"pk": "enrollment_token_id"}
GROUP = {"pk": "group_id"}
PENDING = {"device_id": "pending_device_id"}
PUBLIC = dict.fromkeys(
    ["anonymous", "outsider", "device", "viewer", "operator", "limited", "admin", "key"], 200
)

SERVICE = [
    _get("service-status"),
    _get("service-metrics"),
    _get("service-system-info"),
]

ACCOUNTS = [
    Operation(
        "auth-token",
        "POST",
        body=lambda names: {"email": names["user_email"], "password": names["password"]},
        entries=(Entry("user.sign_in", "user", "user_id"),),
        expect=PUBLIC,
    ),
    Operation(
        "auth-refresh",
        "POST",
        body=lambda names: {"refresh": names["refresh"]},
        unlogged="goes on with a sign-in that is in the log",
        expect=PUBLIC,
    ),
    _get("auth-me"),
    _get("organizations"),
    _get("organization"),
    Operation(
        "organization",
        "PATCH",
        body=lambda _: {"heartbeat_interval_s": 45},
        entries=(Entry("organization.update", "organization", "organization_id"),),
    ),
    _get("users"),
    Operation(
        "users",
        "POST",
        status=201,
        body=lambda _: {"email": "new@example.org", "name": "New", "role": "viewer"},
        also=(lambda names: {"email": names["user_email"], "role": "viewer"},),
        entries=(Entry("member.add", "user"),),
    ),
    _get("user"),
    Operation(
        "user",
        "PATCH",
        body=lambda _: {"role": "operator"},
        entries=(Entry("member.update", "user", "user_id"),),
    ),
    Operation("user", "DELETE", status=204, entries=(Entry("member.remove", "user", "user_id"),)),
    _get("api-keys"),
    Operation(
        "api-keys",
        "POST",
        status=201,
        body=lambda _: {"name": "new key", "role": "viewer"},
        entries=(Entry("api_key.issue", "apikey"),),
    ),
    _get("api-key", path=KEY),
    Operation(
        "api-key",
        "DELETE",
        status=204,
        path=KEY,
        entries=(Entry("api_key.revoke", "apikey", "api_key_id"),),
    ),
]

DEVICES = [
    Operation(
        "device-register",
        "POST",
        status=201,
        body=lambda names: {"device_id": names["new_device_id"], "name": "New"},
        also=(
            lambda names: {"device_id": names["device_id"], "name": "Taken over"},
            lambda names: {"device_id": "mine", "organization": names["slug"]},
            lambda names: {"device_id": "mine", "enrollment_token": names["enrollment_secret"]},
        ),
        entries=(Entry("device.register", "device"),),
        # The door of devices: without a credential of the organisation nobody comes in.
        expect={"anonymous": 403, "outsider": 403, "device": 403},
    ),
    _get("device-config"),
    Operation(
        "device-token-rotate",
        "POST",
        entries=(Entry("device.token_rotate", "device", "device_pk"),),
        body=lambda _: {},
    ),
    _get("device-commands"),
    Operation(
        "device-commands",
        "POST",
        status=201,
        body=_config,
        entries=(Entry("command.queue", "command"),),
    ),
    _get("enrollment-tokens"),
    Operation(
        "enrollment-tokens",
        "POST",
        status=201,
        body=lambda names: {"name": "new token", "max_uses": 2, "group": names["group_name"]},
        entries=(Entry("enrollment_token.issue", "enrollmenttoken"),),
    ),
    _get("enrollment-token", path=TOKEN),
    Operation(
        "enrollment-token",
        "DELETE",
        status=204,
        path=TOKEN,
        entries=(Entry("enrollment_token.revoke", "enrollmenttoken", "enrollment_token_id"),),
    ),
    _get("device-groups"),
    Operation(
        "device-groups",
        "POST",
        status=201,
        body=lambda _: {"name": "new group", "description": "made by a test"},
        also=(lambda names: {"name": names["group_name"]},),
        entries=(Entry("group.create", "devicegroup"),),
    ),
    _get("device-group", path=GROUP),
    Operation(
        "device-group",
        "PATCH",
        path=GROUP,
        body=lambda _: {"description": "changed"},
        entries=(Entry("group.update", "devicegroup", "group_id"),),
    ),
    Operation(
        "device-group",
        "DELETE",
        status=204,
        path=GROUP,
        entries=(Entry("group.delete", "devicegroup", "group_id"),),
    ),
    Operation(
        "device-group-grant",
        "PUT",
        status=204,
        path=GROUP,
        entries=(Entry("group.grant", "devicegroup", "group_id"),),
    ),
    Operation(
        "device-group-grant",
        "DELETE",
        status=204,
        path=GROUP,
        entries=(Entry("group.revoke", "devicegroup", "group_id"),),
    ),
    _get("devices"),
    _get("device"),
    Operation(
        "device",
        "PATCH",
        body=lambda names: {"name": "changed", "groups": [names["group_name"]]},
        entries=(Entry("device.update", "device", "device_pk"),),
    ),
    Operation(
        "device",
        "DELETE",
        status=204,
        entries=(Entry("device.retire", "device", "device_pk"),),
    ),
    Operation(
        "device-status",
        "PATCH",
        body=lambda _: {"status": "degraded", "reason": "a test"},
        entries=(Entry("device.status_override", "device", "device_pk"),),
    ),
    Operation(
        "device-accept",
        "POST",
        path=PENDING,
        entries=(Entry("device.accept", "device", "pending_device_pk"),),
    ),
    Operation(
        "device-reject",
        "POST",
        path=PENDING,
        body=lambda _: {"reason": "a test"},
        entries=(Entry("device.reject", "device", "pending_device_pk"),),
    ),
    _get("device-heartbeats"),
    _get("device-events"),
    _get("device-metrics"),
]

COMMANDS = [
    _get("commands"),
    Operation(
        "commands",
        "POST",
        body=_push,
        entries=(Entry("command.queue", "command"),),
    ),
    Operation(
        "commands-batch",
        "POST",
        body=lambda names: {"commands": [_push(names)]},
        entries=(Entry("command.queue", "command"),),
    ),
    _get("command", path=PK),
    Operation(
        "command",
        "PATCH",
        path={"pk": "delivered_command_id"},
        body=lambda _: {"status": "succeeded", "attempt": 1, "output": "done"},
        entries=(Entry("command.succeeded", "command", "delivered_command_id"),),
        by_device=True,
    ),
    Operation(
        "command-bundle",
        "POST",
        status=201,
        path={"pk": "bundle_command_id"},
        body=lambda _: b"an archive",
        content_type="application/gzip",
        entries=(Entry("bundle.receive", "supportbundle"),),
        by_device=True,
    ),
    _get("command-status", path=PK),
    Operation(
        "command-cancel",
        "POST",
        path=PK,
        entries=(Entry("command.cancel", "command", "command_id"),),
    ),
    Operation(
        "command-retry",
        "POST",
        status=201,
        path={"pk": "ended_command_id"},
        entries=(Entry("command.queue", "command"),),
    ),
    _get("bundles"),
    _get(
        "bundle-download",
        path={"pk": "bundle_id"},
        entries=(Entry("bundle.download", "supportbundle", "bundle_id"),),
    ),
]

GOVERNANCE = [
    # Who is limited to some groups would read here about devices of the others.
    _get("audits", expect={"limited": 403}),
    _get("audits-csv", entries=(Entry("audit.export"),), expect={"limited": 403}),
]

OPERATIONS = [*SERVICE, *ACCOUNTS, *DEVICES, *COMMANDS, *GOVERNANCE]
