"""Bundles over REST: only ready ones are shown, in pages, searched and compared."""

import hashlib
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from accounts.policy import Role
from accounts.services.sign_in import tokens_issue
from accounts.tests.factories import MembershipFactory
from audit.models import AuditEntry
from commands.bundles.processing import bundle_process_next
from commands.models import SupportBundle
from commands.tests.bundles import bundle_command, kept_bundle, sent_bundle, tar_gz
from common import clock, limits
from devices.models import Device
from devices.tests.factories import DeviceFactory, token_of

pytestmark = pytest.mark.django_db

LOG = "".join(f"line {number} of the log\n" for number in range(1, 1001))
UNITS = "  kiosk.service loaded active running Kiosk\n  ssh.service loaded active running SSH\n"
PACKAGES = "ii  vlc   3.0.20-1  arm64  player\nii  curl  7.88.1-10 arm64  tool\n"
FILES = {
    "b/logs/app.txt": LOG,
    "b/system/units.txt": UNITS,
    "b/system/packages.txt": PACKAGES,
    "b/data.bin": b"\x00\x01",
}


@pytest.fixture(autouse=True)
def _media(settings: Any, tmp_path: Path) -> None:
    settings.MEDIA_ROOT = tmp_path


@pytest.fixture
def device() -> Device:
    return DeviceFactory(role="kiosk")


@pytest.fixture
def bundle(device: Device) -> SupportBundle:
    return kept_bundle(bundle_command(device=device), FILES)


@pytest.fixture
def operator(device: Device) -> Client:
    user = MembershipFactory(organization=device.organization, role=Role.OPERATOR).user
    access = tokens_issue(user=user, now=clock.now()).access
    return Client(headers={"Authorization": f"Bearer {access}"})


def url(bundle: SupportBundle, rest: str = "") -> str:
    return f"/api/v1/bundles/{bundle.pk}{rest}"


def test_the_detail_tells_files_redactions_and_findings(operator: Client, bundle: SupportBundle):
    told = operator.get(url(bundle)).json()

    assert [one["path"] for one in told["manifest"]] == list(FILES)
    assert told["redactions"] == told["findings"] == []
    assert told["status"] == "ready"


def test_the_list_is_narrowed_and_leaves_the_contents_out(operator: Client, bundle: SupportBundle):
    sent_bundle(bundle_command(device=DeviceFactory(organization=bundle.organization)), b"x")
    ready = operator.get("/api/v1/bundles?status=ready").json()["results"]
    of_device = operator.get(f"/api/v1/bundles?device_id={bundle.device.device_id}").json()[
        "results"
    ]
    later = operator.get("/api/v1/bundles?created_after=2999-01-01T00:00:00Z").json()["results"]

    assert [one["id"] for one in ready] == [one["id"] for one in of_device] == [str(bundle.pk)]
    assert later == []
    assert "manifest" not in ready[0]


def test_lines_come_in_pages_and_from_the_end(operator: Client, bundle: SupportBundle):
    path = {"path": "b/logs/app.txt"}
    first = operator.get(url(bundle, "/files"), {**path, "offset": 10, "limit": 3}).json()
    tail = operator.get(url(bundle, "/files"), {**path, "tail": 2}).json()

    assert [one["number"] for one in first["lines"]] == [11, 12, 13]
    assert (first["total"], first["next_offset"]) == (1000, 13)
    assert [one["text"] for one in tail["lines"]] == ["line 999 of the log", "line 1000 of the log"]
    assert tail["next_offset"] is None


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ({"path": "b/data.bin"}, 422),
        ({"path": "../../etc/passwd"}, 404),
        ({"path": "b/logs/app.txt", "offset": "-1"}, 422),
        ({"path": "b/logs/app.txt", "limit": "100000"}, 422),
    ],
)
def test_what_cannot_be_shown_is_refused(
    operator: Client, bundle: SupportBundle, query: dict[str, str], status: int
):
    answer = operator.get(url(bundle, "/files"), query)

    assert answer.status_code == status
    assert answer.json()["code"] in {"not_text", "no_such_file", "invalid"}


def test_a_search_tells_lines_with_their_neighbours_and_ends(
    operator: Client, bundle: SupportBundle
):
    told = operator.get(url(bundle, "/search"), {"q": "LINE 500 of", "context": 1}).json()
    many = operator.get(url(bundle, "/search"), {"q": "log"}).json()

    (match,) = told["matches"]
    assert (match["path"], match["line"]) == ("b/logs/app.txt", 500)
    assert match["before"] == ["line 499 of the log"]
    assert match["after"] == ["line 501 of the log"]
    assert not told["is_cut"]
    assert many["is_cut"]
    assert len(many["matches"]) == limits.BUNDLE_SEARCH_MATCHES


def test_a_bundle_is_held_against_the_last_good_one_and_against_peers(
    operator: Client, device: Device
):
    organization = device.organization
    kept_bundle(bundle_command(device=device), FILES, device_health="healthy")
    peer = DeviceFactory(organization=organization, role="kiosk")
    changed = {**FILES, "b/system/packages.txt": PACKAGES.replace("3.0.20", "3.0.21")}
    renamed = {path.replace("b/", "peer/"): content for path, content in changed.items()}
    kept_bundle(bundle_command(device=peer), renamed, device_health="healthy")
    finding = {
        "rule": "disk_full", "severity": "error", "message": "full", "path": "b/logs/app.txt",
        "line": 1, "count": 1,
    }  # fmt: skip
    bad = {**FILES, "b/system/units.txt": UNITS.replace("active running K", "failed failed K")}
    del bad["b/data.bin"]
    bundle = kept_bundle(bundle_command(device=device), bad, findings=[finding])

    good = operator.get(url(bundle, "/compare?with=good")).json()
    peers = operator.get(url(bundle, "/compare?with=peers")).json()

    assert good["findings"]["only_here"] == [finding]
    assert good["files"] == {"only_here": [], "only_there": ["data.bin"]}
    difference = {"name": "kiosk.service", "here": "failed failed", "there": ["active running"]}
    assert good["units"] == peers["units"] == [difference]
    assert good["packages"] == []
    assert [(one["name"], one["there"]) for one in peers["packages"]] == [("vlc", ["3.0.21-1"])]


def test_without_another_bundle_there_is_nothing_to_compare(
    operator: Client, bundle: SupportBundle
):
    for against in ("good", "peers", str(bundle.pk)):
        answer = operator.get(url(bundle, f"/compare?with={against}"))
        assert (answer.status_code, answer.json()["code"]) == (409, "nothing_to_compare")
    assert operator.get(url(bundle, "/compare?with=x")).status_code == 422


def test_a_download_is_an_attachment_that_no_browser_opens_and_is_logged(
    operator: Client, bundle: SupportBundle
):
    answer = operator.get(url(bundle, "/download"))

    assert answer["Content-Disposition"].startswith("attachment")
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert b"".join(answer.streaming_content)[:2] == b"PK"
    assert AuditEntry.objects.get(action="bundle.download").target_id == str(bundle.pk)


@pytest.mark.parametrize("rest", ["/download", "/files", "/search?q=log", "/compare?with=good"])
def test_nothing_of_a_bundle_in_quarantine_is_shown(operator: Client, device: Device, rest: str):
    bundle = sent_bundle(bundle_command(device=device), tar_gz({"a": "1\n"}))

    assert operator.get(url(bundle, rest)).status_code == 409


def test_a_viewer_reads_no_bundle(device: Device, bundle: SupportBundle):
    user = MembershipFactory(organization=device.organization, role=Role.VIEWER).user
    access = tokens_issue(user=user, now=clock.now()).access
    viewer = Client(headers={"Authorization": f"Bearer {access}"})

    for rest in ("", "/files", "/search", "/compare", "/download"):
        assert viewer.get(url(bundle, rest)).status_code == 403


def test_from_the_device_to_the_page(operator: Client, device: Device):
    """Two parts over HTTP, the reader's process, then the lines without the secret."""
    archive = tar_gz({"logs/app.txt": "token = abc123def\nall is well\n"})
    command = bundle_command(device=device, lease_expires_at=clock.now() + timedelta(minutes=1))
    sender = Client(headers={"X-Device-Token": token_of(device)})
    headers = {
        "X-Upload-Size": str(len(archive)),
        "X-Upload-SHA256": hashlib.sha256(archive).hexdigest(),
    }
    path = f"/api/v1/commands/{command.pk}/bundle"

    def put(offset: int, part: bytes) -> Any:
        kind = "application/octet-stream"
        return sender.put(f"{path}/parts?offset={offset}", part, content_type=kind, headers=headers)

    assert sender.get(path).status_code == 404
    assert put(0, archive[:50]).json()["received"] == 50
    gap = put(70, archive[70:])
    assert (gap.status_code, gap.json()["received"]) == (409, 50)
    assert sender.get(path).json() | {"id": ""} == {
        "id": "", "received": 50, "size": len(archive), "status": "uploading",
    }  # fmt: skip
    done = put(50, archive[50:]).json()
    assert done["status"] == "quarantined"
    assert bundle_process_next(now=clock.now())
    told = operator.get(f"/api/v1/bundles/{done['id']}/files").json()
    assert [one["text"] for one in told["lines"]] == ["token = [redacted:token]", "all is well"]


def test_a_part_that_is_too_large_or_nameless_is_refused(device: Device):
    command = bundle_command(device=device)
    sender = Client(headers={"X-Device-Token": token_of(device)})
    path = f"/api/v1/commands/{command.pk}/bundle/parts?offset=0"
    kind = "application/octet-stream"
    large = b"x" * (limits.BUNDLE_PART_BYTES + 1)
    headers = {"X-Upload-Size": str(len(large)), "X-Upload-SHA256": "0" * 64}

    assert sender.put(path, large, content_type=kind, headers=headers).status_code == 413
    assert sender.put(path, b"x", content_type=kind).status_code == 422
    damaged = sender.put(path, b"x", content_type=kind, headers={**headers, "X-Upload-Size": "1"})
    assert (damaged.status_code, damaged.json()["received"]) == (422, 0)
