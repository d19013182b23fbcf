"""Taking bundles in parts: resumable, checked, and no byte lost when a disk is full."""

import hashlib
from errno import ENOSPC
from pathlib import Path
from typing import Any

import pytest
from django.core.files.storage import default_storage
from rest_framework.test import APIClient

from accounts.models import Organization
from common import limits, staging
from releases.models import Artifact, Release
from releases.tests.factories import ReleaseFactory

pytestmark = pytest.mark.django_db
CONTENT = bytes(range(256)) * 40
URL = "/api/v1/releases/1.0/artifacts/any"


@pytest.fixture(autouse=True)
def media(settings: Any, tmp_path: Path) -> None:
    settings.MEDIA_ROOT = tmp_path


@pytest.fixture(autouse=True)
def release(organization: Organization) -> Release:
    return ReleaseFactory(organization=organization, version="1.0")


def put(api: APIClient, offset: int, part: bytes, whole: bytes = CONTENT, sha256: str = "") -> Any:
    return api.generic(
        "PUT",
        f"{URL}/parts?offset={offset}",
        part,
        content_type="application/octet-stream",
        headers={
            "X-Upload-Size": str(len(whole)),
            "X-Upload-SHA256": sha256 or hashlib.sha256(whole).hexdigest(),
        },
    )


def stored() -> bytes:
    artifact = Artifact.objects.get()
    assert artifact.status == "stored"
    with artifact.file.open("rb") as file:
        return bytes(file.read())


def staged_files(root: Path) -> list[Path]:
    return list((root / "releases" / "staging").glob("*"))


def test_parts_become_the_bundle_and_nothing_is_left_behind(admin_api: APIClient, tmp_path: Path):
    for offset in range(0, len(CONTENT), 4000):
        told = put(admin_api, offset, CONTENT[offset : offset + 4000]).json()

    assert (told["received"], told["status"]) == (len(CONTENT), "stored")
    assert stored() == CONTENT
    assert staged_files(tmp_path) == []


def test_an_upload_says_where_to_go_on(admin_api: APIClient):
    assert admin_api.get(f"{URL}/bundle").status_code == 404
    put(admin_api, 0, CONTENT[:4000])

    assert admin_api.get(f"{URL}/bundle").json()["received"] == 4000
    refused = put(admin_api, 8000, CONTENT[8000:])
    assert (refused.status_code, refused.json()["received"]) == (409, 4000)
    assert put(admin_api, 0, CONTENT[:4000]).json()["received"] == 4000
    assert put(admin_api, 4000, CONTENT[4000:]).json()["status"] == "stored"
    assert put(admin_api, 4000, CONTENT[4000:]).json()["status"] == "stored"


def test_a_whole_with_another_checksum_starts_over(admin_api: APIClient):
    damaged = put(admin_api, 0, CONTENT, sha256="0" * 64)

    assert (damaged.status_code, damaged.json()["received"]) == (422, 0)
    assert Artifact.objects.get().received == 0
    assert put(admin_api, 0, CONTENT).json()["status"] == "stored"


def test_bytes_behind_the_last_part_that_counted_are_dropped(admin_api: APIClient):
    """A crash after the write and before the commit leaves them."""
    put(admin_api, 0, CONTENT[:4000])
    path = Path(default_storage.path(Artifact.objects.get().staged))
    path.write_bytes(path.read_bytes() + b"torn" * 3000)

    put(admin_api, 4000, CONTENT[4000:])
    assert stored() == CONTENT


def test_a_lost_file_starts_the_upload_over(admin_api: APIClient):
    put(admin_api, 0, CONTENT[:4000])
    Path(default_storage.path(Artifact.objects.get().staged)).unlink()

    assert put(admin_api, 4000, CONTENT[4000:]).json()["received"] == 0
    assert put(admin_api, 0, CONTENT).json()["status"] == "stored"


def test_another_bundle_takes_the_place_of_the_first(
    admin_api: APIClient, tmp_path: Path, django_capture_on_commit_callbacks: Any
):
    other = CONTENT[::-1]
    put(admin_api, 0, CONTENT)

    assert put(admin_api, 4000, other[4000:], other).status_code == 409
    with django_capture_on_commit_callbacks(execute=True):
        assert put(admin_api, 0, other, other).json()["status"] == "stored"
    assert stored() == other
    assert len(list((tmp_path / "releases" / "bundles").iterdir())) == 1


def test_a_full_disk_loses_nothing(admin_api: APIClient, monkeypatch: pytest.MonkeyPatch):
    def full(_number: int) -> None:
        raise OSError(ENOSPC, "No space left on device")

    put(admin_api, 0, CONTENT[:4000])
    with monkeypatch.context() as patch:
        patch.setattr(staging.os, "fsync", full)
        assert put(admin_api, 4000, CONTENT[4000:]).status_code == 507
    with monkeypatch.context() as patch:
        patch.setattr(limits, "ARTIFACT_DISK_RESERVE_BYTES", 2**62)
        refused = put(admin_api, 4000, CONTENT[4000:])
        assert (refused.status_code, refused.json()["code"]) == (507, "storage_full")

    assert Artifact.objects.get().received == 4000
    assert put(admin_api, 4000, CONTENT[4000:]).json()["status"] == "stored"
    assert stored() == CONTENT


def test_one_piece_with_another_checksum_leaves_nothing(admin_api: APIClient, tmp_path: Path):
    response = admin_api.generic(
        "POST",
        f"{URL}/bundle",
        CONTENT,
        content_type="application/gzip",
        headers={"X-Content-SHA256": "0" * 64},
    )

    assert response.status_code == 422
    assert Artifact.objects.count() == 0
    assert staged_files(tmp_path) == []


@pytest.mark.parametrize(
    ("offset", "part", "size"),
    [
        (0, b"", 10),
        (5, b"x" * 6, 10),
        (-1, b"x", 10),
        (0, b"x", 0),
        (0, b"x", 2**62),
        ("x", b"", 1),
    ],
)
def test_what_is_no_part_is_refused(admin_api: APIClient, offset: Any, part: bytes, size: int):
    response = admin_api.generic(
        "PUT",
        f"{URL}/parts?offset={offset}",
        part,
        content_type="application/octet-stream",
        headers={"X-Upload-Size": str(size), "X-Upload-SHA256": "0" * 64},
    )

    assert response.status_code in {409, 422}
    assert Artifact.objects.filter(status="stored").count() == 0


def test_a_part_over_the_cap_is_refused(admin_api: APIClient, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(limits, "ARTIFACT_PART_BYTES", 100)

    assert put(admin_api, 0, CONTENT).status_code == 413


def test_strangers_and_operators_upload_nothing(
    stranger_api: APIClient, operator_api: APIClient, anonymous_api: APIClient
):
    statuses = [
        put(api, 0, CONTENT).status_code for api in (stranger_api, operator_api, anonymous_api)
    ]

    assert statuses == [404, 403, 401]
    assert stranger_api.get(f"{URL}/bundle").status_code == 404
