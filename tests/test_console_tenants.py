"""Nobody reaches across organisations in the console: pages, lists, filters, forms, bulk actions.

The same findings as in the matrix of the API, on every page of the console and of the admin.
"""

from collections.abc import Iterator
from urllib.parse import urlencode

import pytest

from tests.console_routes import (
    console_routes,
    forms_of,
    queries_of,
    row_name,
    unlisted,
    verbs_of,
)
from tests.identities import Identity, World
from tests.probes import Probe, probed
from tests.routes import Found, fill
from tests.world import Names, Rows, absent_names, stranger_names

pytestmark = pytest.mark.django_db

ROUTES = {route.name: route for route in console_routes()}
# Operators and strangers see what these see, or less.
CALLERS = ["anonymous", "outsider", "device", "viewer", "limited", "admin"]
# What a viewer's query may find, an admin's may.
ASKING = {"limited", "admin"}
FORM = "application/x-www-form-urlencoded"
OTHER_METHODS = ["HEAD", "OPTIONS", "TRACE", "PUT", "PATCH", "DELETE"]


def path_with(route: Found, names: Names, verb: str) -> str:
    row = row_name(route)
    value = names[row] if row else ""
    return "/" + fill(route.path, {"pk": value, "object_id": value, "verb": verb})


class Pages:
    """The probes of one caller on one page, against one set of foreign rows."""

    def __init__(self, route: Found, caller: Identity, foreign: Rows) -> None:
        self.route = route
        self.caller = caller
        self.foreign: Names = {**caller.own, **stranger_names(foreign)}
        self.absent: Names = {**caller.own, **absent_names(stranger_names(foreign))}
        self.client = caller.client(session=True)
        if caller.user is None:
            self.client.defaults |= caller.client().defaults

    def findings(self) -> list[str]:
        wrong = []
        for foreign, absent in self.pairs():
            seen, faults = probed(self.caller, self.client, foreign, self.caller.foreign)
            wrong += faults
            if absent is None or foreign.request() == absent.request():
                continue
            unseen, more = probed(self.caller, self.client, absent, self.caller.foreign)
            wrong += more
            if seen.shape() != unseen.shape():
                wrong.append(
                    f"{self.caller.name}: {foreign.method} {foreign.url} {foreign.query}:"
                    f" {_difference(seen.shape(), unseen.shape())}"
                )
        return wrong

    def pairs(self) -> Iterator[tuple[Probe, Probe | None]]:
        """Yield each probe with its twin; a page without parameters needs no twin."""
        named = bool(row_name(self.route))
        yield self._probe("GET", self.foreign), (self._probe("GET", self.absent) if named else None)
        if not self._is_open():
            return
        if self.caller.name in ASKING:
            yield from self._queries()
        for verb in verbs_of(self.route):
            yield from self._forms(named=named, verb=verb)
        if self.caller.name == "admin":
            for method in OTHER_METHODS:
                yield self._probe(method, self.foreign), None

    def _queries(self) -> Iterator[tuple[Probe, Probe]]:
        pairs = zip(
            queries_of(self.route, self.foreign), queries_of(self.route, self.absent), strict=True
        )
        for query, twin in pairs:
            yield (
                self._probe("GET", self.foreign, own_path=True, query=query),
                self._probe("GET", self.absent, own_path=True, query=twin),
            )

    def _is_open(self) -> bool:
        """Say whether the caller gets in at all; nothing of who does not is read."""
        with_own = self._probe("GET", self.caller.own, own_path=True)
        answer, _ = probed(self.caller, self.client, with_own, self.caller.foreign)
        return answer.status in (200, 405) or (
            answer.status == 302 and "login" not in answer.location
        )

    def _forms(self, *, named: bool, verb: str) -> Iterator[tuple[Probe, Probe]]:
        pairs = zip(
            forms_of(self.route, self.foreign), forms_of(self.route, self.absent), strict=True
        )
        for form, twin in pairs:
            for own_path in (True, False) if named else (True,):
                yield (
                    self._probe("POST", self.foreign, own_path=own_path, form=form, verb=verb),
                    self._probe("POST", self.absent, own_path=own_path, form=twin, verb=verb),
                )

    def _probe(
        self,
        method: str,
        names: Names,
        *,
        own_path: bool = False,
        query: dict[str, str] | None = None,
        form: dict[str, str] | None = None,
        verb: str = "accept",
    ) -> Probe:
        return Probe(
            method=method,
            url=path_with(self.route, self.caller.own if own_path else names, verb),
            names={**names, "hex": names["device_pk"].replace("-", "")},
            body=urlencode(form).encode() if form else None,
            content_type=FORM,
            query=query or {},
            said=tuple(form.values()) if form else (),
        )


def _difference(one: tuple[int, str, str], other: tuple[int, str, str]) -> str:
    """Return the first place where two answers differ."""
    if (one[0], one[2]) != (other[0], other[2]):
        return f"foreign {one[0]} {one[2]} absent {other[0]} {other[2]}"
    pairs = enumerate(zip(one[1], other[1], strict=False))
    at = next((place for place, (a, b) in pairs if a != b), min(len(one[1]), len(other[1])))
    around = slice(max(0, at - 60), at + 60)
    return f"foreign “{one[1][around]}” absent “{other[1][around]}”"


def test_every_route_of_the_site_is_in_a_table():
    assert unlisted() == []


@pytest.mark.parametrize("route", ROUTES.values(), ids=ROUTES)
def test_no_page_reaches_across_organisations(world: World, route: Found):
    found = []
    for name in CALLERS:
        # For the limited person the neighbour is what others must not see as well.
        foreign = world.neighbour if name == "limited" else world.globex
        found += Pages(route, world.identities[name], foreign).findings()

    assert found == []


def test_a_person_acts_nowhere_they_do_not_belong(world: World):
    """The switcher leads nobody into an organisation they are no member of."""
    admin = world.identities["admin"]
    client = admin.client(session=True)

    for slug in ("zebra", "no-such-place", "*", "a\x00b"):
        client.post("/console/organization/switch", {"organization": slug})
        page = client.get("/admin/devices/device/")

        assert page.status_code == 200
        assert b"okapi-device" in page.content
        assert b"zebra" not in page.content
