"""What holds for every page of the console."""

from html.parser import HTMLParser

import pytest
from django.test import Client

from accounts.models import Organization
from accounts.policy import Role
from accounts.principals import Principal
from accounts.tests.factories import member
from commands.models import CommandBatch
from commands.tests.factories import CommandFactory, batch_of
from console.middleware import content_policy
from console.tests.browsers import browser_of, text_of
from devices.models import Device
from releases.models import Rollout
from releases.tests.factories import RolloutFactory

A, O, V = Role.ADMIN, Role.OPERATOR, Role.VIEWER  # noqa: E741
# Who may open each page; everybody else gets 403.
PAGES = {
    "/admin/": {A, O, V},
    "/admin/devices/device/": {A, O, V},
    "/admin/devices/device/export/": {A, O, V},
    "/admin/devices/device/add/": set(),
    "/admin/devices/device/{device}/change/": {A, O, V},
    "/admin/devices/devicegroup/": {A, O, V},
    "/admin/devices/devicegroup/add/": {A},
    "/admin/devices/enrollmenttoken/": {A},
    "/admin/devices/deviceevent/": {A, O, V},
    "/admin/devices/deviceevent/add/": set(),
    "/admin/commands/command/": {A, O, V},
    "/admin/commands/command/add/": set(),
    "/admin/commands/command/{command}/change/": {A, O, V},
    "/admin/commands/command/{command}/delete/": set(),
    "/admin/commands/command/queue/?devices={device}": {A, O},
    "/admin/commands/commandbatch/": {A, O, V},
    "/admin/commands/commandbatch/add/": {A, O},
    "/admin/commands/supportbundle/": {A, O},
    "/admin/releases/release/": {A, O, V},
    "/admin/releases/release/add/": {A},
    "/admin/releases/rollout/": {A, O, V},
    "/admin/releases/rollout/add/": {A},
    "/admin/releases/deviceupdate/": {A, O, V},
    "/admin/releases/sitecalendar/": {A, O, V},
    "/admin/releases/sitecalendar/add/": {A},
    "/admin/devices/driftreport/": {A, O, V},
    "/console/versions": {A, O, V},
    "/console/trust": {A, O, V},
    "/console/devices/{device}/updates": {A, O, V},
    "/admin/audit/auditentry/": {A, O},
    "/admin/audit/auditentry/add/": set(),
    "/admin/accounts/organization/": {A, O, V},
    "/admin/accounts/organization/add/": set(),
    "/admin/accounts/membership/": {A},
    "/admin/accounts/membership/add/": {A},
    "/admin/accounts/apikey/": {A},
    "/admin/accounts/apikey/add/": {A},
    "/console/system": {A, O, V},
    "/console/add-device": {A},
    "/console/devices/{device}": {A, O, V},
    "/console/devices/{device}/heartbeats": {A, O, V},
    "/console/devices/{device}/commands": {A, O, V},
    "/console/devices/{device}/events": {A, O, V},
    "/console/devices/{device}/audit": {A, O},
    "/accounts/2fa/": {A, O, V},
    "/accounts/password/change/": {A, O, V},
    "/accounts/logout/": {A, O, V},
}
RELEASES = {
    "Releases",
    "Rollouts",
    "Versions",
    "Updates",
    "Drift",
    "Site calendars",
    "Signing keys",
}
SIDEBAR = {
    V: {"Dashboard", "Devices", "Device groups", "Device events", "Commands", "Batches",
        "Scripts", "Templates", "Organisation", "System status"} | RELEASES,
    O: {"Dashboard", "Devices", "Device groups", "Device events", "Commands", "Batches",
        "Scripts", "Templates", "Support bundles", "Audit log", "Organisation", "System status"}
       | RELEASES,
    A: {"Dashboard", "Devices", "Device groups", "Enrolment tokens", "Add a device",
        "Device events", "Commands", "Batches", "Scripts", "Templates", "Support bundles",
        "Audit log", "Organisation", "People", "API keys", "System status"} | RELEASES,
}  # fmt: skip


class Sources(HTMLParser):
    """Collects what a page makes the browser load, and scripts that stand in the page."""

    def __init__(self) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.handlers: list[str] = []
        self.inline_scripts = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.handlers += [name for name in found if name.startswith("on")]
        names = ["src", "srcset", "action", "formaction", "poster", "data"]
        self.loaded += [found[name] or "" for name in names if name in found]
        if tag == "link":
            self.loaded.append(found.get("href") or "")
        kind = found.get("type", "text/javascript")
        self.inline_scripts += tag == "script" and "src" not in found and "json" not in kind


@pytest.fixture
def paths(device: Device) -> dict[str, str]:
    command = CommandFactory(device=device)
    return {page: page.format(device=device.pk, command=command.pk) for page in PAGES}


@pytest.mark.parametrize("role", Role.values)
def test_pages_open_for_the_roles_of_the_table(
    organization: Organization, paths: dict[str, str], role: str
):
    browser = browser_of(member(organization, role))

    found = {page: browser.get(path).status_code for page, path in paths.items()}

    assert found == {page: 200 if role in roles else 403 for page, roles in PAGES.items()}


def test_pages_ask_strangers_to_sign_in(paths: dict[str, str]):
    for path in paths.values():
        answer = Client().get(path)
        # One who is signed out already has nothing to sign out of.
        assert answer.status_code == 302, path


@pytest.mark.parametrize("role", Role.values)
def test_the_sidebar_shows_what_the_role_may_open(organization: Organization, role: str):
    answer = browser_of(member(organization, role)).get("/admin/")

    shown = {
        item["title"]
        for group in answer.context["sidebar_navigation"]
        for item in group["items"]
        if item["has_permission"]
    }
    assert shown == SIDEBAR[Role(role)]


def test_no_page_loads_anything_from_outside_or_runs_a_script_of_its_own(
    admin: Principal, paths: dict[str, str]
):
    browser = browser_of(admin)
    pages = [browser.get(path) for page, path in paths.items() if A in PAGES[page]]
    pages += [Client().get("/accounts/login/"), browser.get("/admin/nowhere/")]

    for answer in pages:
        sources = Sources()
        sources.feed(answer.content.decode())
        outside = [
            source for source in sources.loaded if source and not source.startswith(("/", "data:"))
        ]
        assert [source for source in outside if source not in {".", "?"}] == []
        assert not any(source.startswith("//") for source in sources.loaded)
        assert sources.handlers == []
        assert sources.inline_scripts == 0
        # A formatter that parts a bracket from its tag shows the tag as text.
        assert "< a" not in answer.content.decode()
        assert "< span" not in answer.content.decode()


def test_the_browser_is_told_to_load_nothing_from_outside(admin: Principal):
    answer = browser_of(admin).get("/admin/")

    policy = answer["Content-Security-Policy"]
    assert policy == content_policy("/admin/")
    assert "default-src 'self'" in policy
    assert "script-src 'self' 'unsafe-eval';" in policy
    assert "http" not in policy
    assert answer["X-Frame-Options"] == "DENY"
    assert "no-store" in answer["Cache-Control"]


def test_a_page_that_is_not_there_says_so_in_the_portals_words(admin: Principal):
    answer = browser_of(admin).get("/admin/nowhere/")

    assert answer.status_code == 404
    assert "or it belongs to another organisation" in text_of(answer)


def test_a_page_one_may_not_open_says_what_to_do(viewer: Principal):
    answer = browser_of(viewer).get("/admin/accounts/membership/")

    assert "Ask one of its admins" in text_of(answer)


def test_the_system_page_names_parts_versions_and_sizes(viewer: Principal):
    page = text_of(browser_of(viewer).get("/console/system"))

    for part in ("gateway", "PostgreSQL", "devices_device"):
        assert part in page


def test_the_organisation_link_leads_to_ones_own_settings(viewer: Principal):
    answer = browser_of(viewer).get("/console/organization")

    assert answer.url == f"/admin/accounts/organization/{viewer.organization_id}/change/"


@pytest.fixture
def rollout(organization: Organization) -> Rollout:
    made: Rollout = RolloutFactory(release__organization=organization)
    return made


@pytest.fixture
def batch(device: Device) -> CommandBatch:
    return batch_of(CommandFactory(device=device))


LIVE_PAGES = [
    "/",
    "/admin/releases/rollout/{rollout}/change/",
    "/admin/commands/commandbatch/{batch}/change/",
    "/console/devices/{device}",
    "/console/devices/{device}/commands",
    "/console/devices/{device}/updates",
]


class LivePart(HTMLParser):
    """The part of a page that is fetched again: its id, its address, what its stream is about."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: dict[str, str | None] = {}
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        known = dict(attrs)
        if "data-stream" in known:
            self.found = known


@pytest.mark.parametrize("path", LIVE_PAGES)
def test_a_page_that_stays_live_names_a_stream_and_a_part_that_its_reader_may_have(
    path, device, viewer, rollout, batch
):
    browser = browser_of(viewer)
    names = {"device": device.pk, "rollout": rollout.pk, "batch": batch.pk}

    page = browser.get(path.format(**names), follow=True)

    part = LivePart(text_of(page)).found
    told = browser.get(f"/api/v1/stream?{part['data-stream']}")
    assert told.status_code == 200
    assert b"event: hello" in b"".join(told.streaming_content)
    fetched = browser.get(part["data-live"])
    assert fetched.status_code == 200
    # Without an id the answer is the part itself, with one it holds the part.
    assert ("<html" in text_of(fetched)) == ("id" in part)
    assert f'id="{part.get("id", "")}"' in text_of(fetched) or "id" not in part
