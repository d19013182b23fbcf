"""Nobody reaches, sees, changes or even notices what belongs to another organisation.

Every route of the API x every method x every kind of caller, with names of foreign rows in the
path, the query, the headers and the body. A finding is a foreign text or id in the answer, a
changed foreign row, an own row that points at a foreign one, an answer that differs from the one
for a name that does not exist, or any 5xx.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from django.test import Client

from devices.models import Device
from devices.models.registry import DeviceQuerySet
from tests.identities import NAMES, Identity, World
from tests.probes import METHODS, Probe, probed
from tests.routes import OPERATIONS, Found, Operation, api_routes, fill, parameters
from tests.world import Names, Rows, absent_names, stranger_names

pytestmark = pytest.mark.django_db

ROUTES = api_routes()
# Members a caller may hope are read: an organisation, an owner, a key.
SMUGGLED = {
    "organization": "slug",
    "organization_id": "organization_id",
    "id": "device_pk",
    "device": "device_pk",
    "user": "user_id",
    "user_id": "user_id",
    "command": "command_id",
    "enrolled_by": "word",
}
QUERIES = {
    "search": "word",
    "role": "role",
    "tag": "tag",
    "tags": "tag",
    "group": "group_name",
    "groups": "group_name",
    "device_id": "device_id",
    "deviceId": "device_id",
    "device": "device_pk",
    "site": "word",
    "actor": "word",
    "target": "word",
    "target_id": "device_pk",
    "id": "command_id",
    "organization": "slug",
    "organization_id": "organization_id",
    "organization__slug": "slug",
    "device__name": "word",
    "user__email": "user_email",
    "cursor": "word",
    "ordering": "word",
}
ORDERINGS = ["organization__name,-organization_id", "device__organization,user__password"]
# Doors anybody may knock at.
PUBLIC = {"auth-token", "auth-refresh", "device-register"}

# Who tries the methods a route does not offer: whoever may do most, and whoever may do nothing.
STRANGEST = {"admin", "anonymous"}

# Who shares the reach of another caller in all a query may narrow or order: the viewer asks for
# the organisation, the stranger as an admin.
LIKE_ANOTHER = {"operator", "admin", "key"}

# Answers that may differ, and why.
TOLERATED = {
    # A person with an account elsewhere is added with that account; there is one per address.
    ("users", "POST"),
}


def operations_of(route: str) -> dict[str, Operation]:
    return {one.method: one for one in OPERATIONS if one.route == route}


def any_operation(route: str, method: str) -> Operation:
    """Return the declared operation, or what a guess at an undeclared method would look like."""
    declared = operations_of(route)
    first = next(iter(declared.values()))
    return declared.get(method) or Operation(route, method, path=first.path, body=lambda _: {})


class Matrix:
    """The probes of one caller on one route, against one set of foreign rows.

    What names nobody's rows is asked with the first of the `others` only; `entered` remembers for
    the next ones which doors the caller gets past.
    """

    def __init__(
        self,
        route: Found,
        caller: Identity,
        foreign: Rows,
        others: list[Rows],
        entered: dict[str, bool] | None = None,
    ) -> None:
        self.entered = {} if entered is None else entered
        self.route = route
        self.caller = caller
        self.is_first = foreign is others[0]
        self.client: Client = caller.client()
        # A neighbour device in the own organisation shares what is not about devices.
        strange = {
            name: value
            for name, value in stranger_names(foreign).items()
            if value != caller.own.get(name)
        }
        self.foreign: Names = {**caller.own, **strange}
        self.absent: Names = {**caller.own, **absent_names(strange)}
        self.others = others

    def findings(self) -> list[str]:
        wrong = []
        for method in METHODS:
            operation = any_operation(self.route.name, method)
            declared = method in operations_of(self.route.name)
            if not declared and not (self.is_first and self.caller.name in STRANGEST):
                continue
            if parameters(self.route.path):
                wrong += self._compare(*self._twins(operation, in_path=True), alone=not declared)
            pairs = [*self._in_body(operation), *self._in_query(operation)] if declared else []
            if pairs and self._may_enter(operation):
                for foreign, absent in pairs:
                    wrong += self._compare(foreign, absent)
        if self.is_first and (
            "GET" in operations_of(self.route.name) or self.caller.name == "admin"
        ):
            operation = any_operation(self.route.name, "GET")
            wrong += self._compare(*self._twins(operation, header="X-Organization"))
        return wrong

    def _compare(self, foreign: Probe, absent: Probe, *, alone: bool = False) -> list[str]:
        """Send a probe and its twin; `alone` leaves out the twin of a method nobody offers.

        A name that is the caller's own as well makes twins of one request: it is sent once.
        """
        seen, wrong = probed(self.caller, self.client, foreign, self.others)
        if alone or foreign.request() == absent.request():
            return wrong
        unseen, more = probed(self.caller, self.client, absent, self.others)
        if (self.route.name, foreign.method) in TOLERATED and seen.status == unseen.status:
            return []
        if seen.shape() != unseen.shape():
            more.append(
                f"{self.caller.name}: {foreign.method} {foreign.url} {foreign.query}:"
                f" foreign {seen.shape()} absent {unseen.shape()}"
            )
        return wrong + more

    def _may_enter(self, operation: Operation) -> bool:
        """Say whether the caller gets past the door; who does not is not heard any further."""
        if operation.method not in self.entered:
            url = operation.url(self.route, self.caller.own)
            probe = Probe(operation.method, url, self.caller.own)
            answer, _ = probed(self.caller, self.client, probe, self.others)
            may = answer.status not in (401, 403) or self.route.name in PUBLIC
            self.entered[operation.method] = may
        return self.entered[operation.method]

    def _twins(
        self,
        operation: Operation,
        *,
        in_path: bool = False,
        query: dict[str, str] | None = None,
        header: str = "",
    ) -> tuple[Probe, Probe]:
        foreign, absent = (
            Probe(
                method=operation.method,
                url=operation.url(self.route, names if in_path else self.caller.own),
                names=names,
                body=operation.body(self.caller.own) if operation.body else None,
                content_type=operation.content_type,
                query={key: names[name] for key, name in (query or {}).items()},
                headers={header: names["slug"]} if header else {},
            )
            for names in (self.foreign, self.absent)
        )
        return foreign, absent

    def _in_body(self, operation: Operation) -> Iterator[tuple[Probe, Probe]]:
        """Own path, foreign names in every body the operation knows, and smuggled members."""
        for make in filter(None, [operation.body, *operation.also]):
            foreign, absent = (
                Probe(
                    method=operation.method,
                    url=operation.url(self.route, self.caller.own),
                    names=names,
                    body=_smuggling(make(names), names),
                    content_type=operation.content_type,
                )
                for names in (self.foreign, self.absent)
            )
            yield foreign, absent

    def _in_query(self, operation: Operation) -> Iterator[tuple[Probe, Probe]]:
        if operation.method != "GET" or self.caller.name in LIKE_ANOTHER:
            return
        view = self.route.view.view_class
        known = set(getattr(getattr(view, "filterset_class", None), "base_filters", {}))
        known |= {"search", "cursor", "ordering"}
        for key in known.intersection(QUERIES):
            yield self._twins(operation, query={key: QUERIES[key]})
        # What no filter knows must not narrow, and not order.
        unknown = {key: name for key, name in QUERIES.items() if key not in known}
        yield self._twins(operation, query=unknown)
        for ordering in ORDERINGS if self.is_first else []:
            plain, _ = self._twins(operation)
            asked = replace(plain, query={"ordering": ordering})
            yield asked, asked


def _smuggling(body: Any, names: Names) -> Any:
    if not isinstance(body, dict):
        return body
    return {**{key: names[name] for key, name in SMUGGLED.items()}, **body}


def test_every_api_route_is_in_the_table():
    assert set(ROUTES) == {operation.route for operation in OPERATIONS}


def test_every_parameter_of_a_path_can_be_filled(world: World):
    for operation in OPERATIONS:
        url = operation.url(ROUTES[operation.route], world.acme.names)

        assert "<" not in url


def test_fill_puts_each_value_in_its_place():
    path = "groups/<uuid:pk>/grants/<uuid:user_id>"

    assert parameters(path) == ["pk", "user_id"]
    assert fill(path, {"pk": "1", "user_id": "2"}) == "groups/1/grants/2"


@pytest.mark.parametrize("route", ROUTES.values(), ids=ROUTES)
def test_no_caller_reaches_across_organisations(world: World, route: Found):
    found = []
    for caller in (world.identities[name] for name in NAMES):
        entered: dict[str, bool] = {}
        for foreign in caller.foreign:
            found += Matrix(route, caller, foreign, caller.foreign, entered).findings()

    assert found == []


def test_the_matrix_finds_a_list_that_forgot_visible_to(
    world: World, monkeypatch: pytest.MonkeyPatch
):
    view = ROUTES["devices"].view.view_class
    everything = Device.objects.select_related("state").order_by("device_id")
    monkeypatch.setattr(view, "get_queryset", lambda _: everything.all())
    caller = world.identities["viewer"]

    found = Matrix(ROUTES["devices"], caller, world.globex, caller.foreign).findings()

    assert any("zebra" in finding for finding in found)


def test_the_matrix_finds_a_door_that_looks_past_visible_to(
    world: World, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(DeviceQuerySet, "visible_to", lambda rows, _principal: rows.all())
    caller = world.identities["admin"]

    found = Matrix(ROUTES["device"], caller, world.globex, caller.foreign).findings()

    assert any("changed a foreign row" in finding for finding in found)
    assert any("absent" in finding for finding in found)
