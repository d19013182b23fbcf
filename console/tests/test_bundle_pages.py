"""The pages of a support bundle: what a device wrote is shown as text, whatever it wrote."""

import re
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from accounts.policy import Role
from accounts.tests.factories import MembershipFactory
from commands.models import SupportBundle
from commands.tests.bundles import bundle_command, ended_command, kept_bundle, sent_bundle
from devices.tests.factories import DeviceFactory

pytestmark = pytest.mark.django_db

EVIL = "<script>alert(1)</script>"
FILES = {f"logs/{EVIL}.txt": f"one\n{EVIL} two\n", "plain.txt": "line\n" * 2000, "raw.bin": b"\x00"}


@pytest.fixture
def bundle(settings: Any, tmp_path: Path) -> SupportBundle:
    settings.MEDIA_ROOT = tmp_path
    device = DeviceFactory()
    finding = {
        "rule": "disk_full", "severity": "error", "message": EVIL, "path": f"logs/{EVIL}.txt",
        "line": 2, "count": 3,
    }  # fmt: skip
    removed = {"rule": "token", "path": f"logs/{EVIL}.txt", "count": 4}
    kept_bundle(ended_command(device=device), {"a.txt": "1\n"}, device_health="healthy")
    command = bundle_command(device=device)
    return kept_bundle(command, FILES, findings=[finding], redactions=[removed])


def signed_in(bundle: SupportBundle, role: str = Role.OPERATOR) -> Client:
    client = Client()
    client.force_login(MembershipFactory(organization=bundle.organization, role=role).user)
    return client


def text(client: Client, bundle: SupportBundle, rest: str = "", **query: str) -> str:
    answer = client.get(f"/console/bundles/{bundle.pk}{rest}", query)
    assert answer.status_code == 200
    return answer.content.decode()


def test_no_page_runs_what_a_device_wrote(bundle: SupportBundle):
    client = signed_in(bundle)
    path = f"logs/{EVIL}.txt"
    pages = [
        text(client, bundle),
        text(client, bundle, "/file", path=path),
        text(client, bundle, "/search", q="two"),
        text(client, bundle, "/search", q=EVIL, path=path),
        text(client, bundle, "/redactions"),
        text(client, bundle, "/compare"),
        client.get(f"/console/devices/{bundle.device_id}/bundles").content.decode(),
    ]

    assert not [page for page in pages if EVIL in page]
    assert all("&lt;script&gt;" in page for page in pages[:5])


def test_findings_stand_before_the_files_and_lead_to_their_line(bundle: SupportBundle):
    page = text(signed_in(bundle), bundle)

    assert page.index("disk_full") < page.index("plain.txt")
    assert "line=2#L2" in page
    assert "not text: download the bundle" in page


def test_a_file_is_shown_in_pages_with_line_numbers(bundle: SupportBundle):
    client = signed_in(bundle)
    first = text(client, bundle, "/file", path="plain.txt")
    middle = text(client, bundle, "/file", path="plain.txt", line="1200")
    last = text(client, bundle, "/file", path="plain.txt", tail="1")

    assert "lines 1 to 500 of 2,000" in first
    assert re.search(r'id="L1200"\s+value="1200"\s+class="fb-marked"', middle)
    assert "lines 1,501 to 2,000 of 2,000" in last


def test_a_comparison_names_what_it_is_held_against(bundle: SupportBundle):
    page = text(signed_in(bundle), bundle, "/compare")

    assert "Held against" in page
    assert "only there" in page


@pytest.mark.parametrize("rest", ["/file?path=absent", "/file", "/compare?with=nonsense"])
def test_what_is_not_there_is_not_found(bundle: SupportBundle, rest: str):
    answer = signed_in(bundle).get(f"/console/bundles/{bundle.pk}{rest}")

    assert answer.status_code == 404


def test_one_in_quarantine_says_so_and_shows_nothing(bundle: SupportBundle):
    waiting = sent_bundle(bundle_command(device=bundle.device), b"x")
    client = signed_in(bundle)

    assert "received or processed" in text(client, waiting)
    assert "still being received" in text(client, waiting, "/search", q="x")


def test_a_viewer_is_turned_away_and_sees_no_tab(bundle: SupportBundle):
    viewer = signed_in(bundle, Role.VIEWER)

    assert viewer.get(f"/console/bundles/{bundle.pk}").status_code == 403
    device = viewer.get(f"/console/devices/{bundle.device_id}").content.decode()
    assert "/bundles" not in device
