"""Who calls: every kind of caller the portal knows, with its own rows and those it must not see."""

from dataclasses import dataclass, field
from functools import cache
from typing import Any

from django.test import Client
from django.test.client import ClientHandler

from accounts.models import User
from accounts.policy import DEVICE, Role
from accounts.services.sign_in import tokens_issue
from accounts.tests.factories import UserFactory, api_key
from common import clock
from devices.tests.factories import token_of
from tests.world import Names, Rows, absent_names, device_rows, organization_rows, person

NAMES = [
    "anonymous", "outsider", "device", "viewer", "operator", "limited", "admin", "key", "stranger",
]  # fmt: skip


@cache
def _handler() -> ClientHandler:
    return ClientHandler(enforce_csrf_checks=False)


def new_client() -> Client:
    """Return a client that sees a 500 as a caller would; loading the middleware is shared."""
    client = Client(raise_request_exception=False)
    client.handler = _handler()
    return client


@dataclass
class Identity:
    """A caller. `own` is what its requests name as its own, `foreign` what it must not reach."""

    name: str
    role: str | None
    own: Names
    foreign: list[Rows]
    headers: dict[str, str] = field(default_factory=dict)
    user: User | None = None

    def client(self, *, session: bool = False) -> Client:
        """Return a client that calls as this identity; with `session` as the console's pages do."""
        client = new_client()
        if session and self.user is not None:
            client.force_login(self.user, "accounts.backends.PortalBackend")
        elif not session:
            client.defaults |= {
                f"HTTP_{name.upper().replace('-', '_')}": value
                for name, value in self.headers.items()
            }
        return client


@dataclass
class World:
    """Acme with a neighbour device nobody is granted, Globex beside it, and who calls."""

    acme: Rows
    neighbour: Rows
    globex: Rows
    identities: dict[str, Identity]


def build_world() -> World:
    """Fill the database; the words are such that no other text holds them."""
    acme = organization_rows("okapi")
    neighbour = device_rows(acme.organization, "quagga")
    globex = organization_rows("zebra")
    world = World(acme=acme, neighbour=neighbour, globex=globex, identities={})
    granted = [acme.names["group_id"]]
    people = {
        "viewer": (person(acme, "viewer", Role.VIEWER), [globex]),
        "operator": (person(acme, "operator", Role.OPERATOR), [globex]),
        "limited": (person(acme, "limited", Role.OPERATOR, groups=granted), [globex, neighbour]),
        "admin": (person(acme, "admin", Role.ADMIN), [globex]),
    }
    for name, (user, foreign) in people.items():
        role = Role.OPERATOR if name == "limited" else name
        world.identities[name] = _of_user(name, role, user, own=acme.names, foreign=foreign)
    owner = person(globex, "stranger", Role.ADMIN)
    world.identities["stranger"] = _of_user(
        "stranger", Role.ADMIN, owner, own=globex.names, foreign=[acme]
    )
    _add_outsiders(world)
    _add_machines(world)
    return world


def _of_user(name: str, role: str | None, user: User, **fields: Any) -> Identity:
    access = tokens_issue(user=user, now=clock.now()).access
    headers = {"Authorization": f"Bearer {access}"}
    return Identity(name=name, role=role, headers=headers, user=user, **fields)


def _add_outsiders(world: World) -> None:
    nothing: dict[str, Any] = {
        "own": absent_names(world.acme.names),
        "foreign": [world.acme, world.globex],
    }
    outsider = UserFactory(email="outsider@example.org", name="Outsider")
    world.identities["outsider"] = _of_user("outsider", None, outsider, **nothing)
    world.identities["anonymous"] = Identity(name="anonymous", role=None, **nothing)


def _add_machines(world: World) -> None:
    acme, neighbour, globex = world.acme, world.neighbour, world.globex
    world.identities["device"] = Identity(
        name="device",
        role=DEVICE,
        own=acme.names,
        foreign=[globex, neighbour],
        headers={"X-Device-Token": token_of(acme.device)},
    )
    world.identities["key"] = Identity(
        name="key",
        role=Role.ADMIN,
        own=acme.names,
        foreign=[globex],
        headers=key_headers(acme, Role.ADMIN),
    )


def key_headers(rows: Rows, role: str) -> dict[str, str]:
    """Return the headers of a new API key of the rows' organisation."""
    return {"X-API-Key": api_key(rows.organization, role)[1]}
