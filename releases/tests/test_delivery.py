"""Bundles as they are fetched: whole, in ranges, by link, and by nobody else."""

import hashlib
import io
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest
from asgiref.sync import async_to_sync
from django.db import connection
from django.test import AsyncRequestFactory, Client, override_settings
from rest_framework.test import APIClient

from accounts.models import Organization
from accounts.tests.factories import api_key
from common import clock, limits
from common.streaming import streamed_bytes
from devices.models import Device
from devices.tests.factories import DeviceFactory, token_of
from releases.models import Artifact, Release
from releases.services.signed_links import bundle_link
from releases.tests.bundles import stored_artifact
from releases.tests.factories import ReleaseFactory, published

pytestmark = pytest.mark.django_db
CONTENT = bytes(range(256)) * 40
ETAG = f'"{hashlib.sha256(CONTENT).hexdigest()}"'


@pytest.fixture(autouse=True)
def media(settings: Any, tmp_path: Any) -> None:
    settings.MEDIA_ROOT = tmp_path


@pytest.fixture
def release(organization: Organization) -> Release:
    made = ReleaseFactory(organization=organization, version="2.0", roles=["player"])
    stored_artifact(made, CONTENT, role="player")
    return published(made)


@pytest.fixture
def artifact(release: Release) -> Artifact:
    return release.artifacts.get()


PATH = "/api/v1/artifacts/player/2.0/bundle"


def body(response: Any) -> bytes:
    return b"".join(response.streaming_content) if response.streaming else response.content


def test_a_bundle_comes_whole_with_its_checksum_as_tag(viewer_api: APIClient, release: Release):
    response = viewer_api.get(PATH)

    assert response.status_code == 200
    assert body(response) == CONTENT
    assert response["ETag"] == ETAG
    assert response["Content-Length"] == str(len(CONTENT))
    assert response["Accept-Ranges"] == "bytes"
    assert "immutable" in response["Cache-Control"]
    assert response["Content-Disposition"].startswith("attachment")
    assert response["X-Content-Type-Options"] == "nosniff"


def test_a_head_says_the_same_without_the_bytes(viewer_api: APIClient, release: Release):
    response = viewer_api.head(PATH)

    assert response.status_code == 200
    assert body(response) == b""
    assert response["Content-Length"] == str(len(CONTENT))
    assert response["ETag"] == ETAG


@pytest.mark.parametrize(
    ("header", "first", "last"),
    [
        ("bytes=0-0", 0, 0),
        ("bytes=100-199", 100, 199),
        ("bytes=10000-", 10000, len(CONTENT) - 1),
        ("bytes=-5", len(CONTENT) - 5, len(CONTENT) - 1),
        ("bytes=-999999", 0, len(CONTENT) - 1),
        ("bytes=5-999999999999", 5, len(CONTENT) - 1),
    ],
)
def test_a_range_gives_those_bytes_and_no_more(
    viewer_api: APIClient, release: Release, header: str, first: int, last: int
):
    response = viewer_api.get(PATH, headers={"Range": header, "If-Range": ETAG})

    assert response.status_code == 206
    assert body(response) == CONTENT[first : last + 1]
    assert response["Content-Range"] == f"bytes {first}-{last}/{len(CONTENT)}"
    assert response["Content-Length"] == str(last - first + 1)


@pytest.mark.parametrize("header", [f"bytes={len(CONTENT)}-", "bytes=-0", "bytes=999999999-"])
def test_a_range_outside_is_refused_and_told_the_size(
    viewer_api: APIClient, release: Release, header: str
):
    response = viewer_api.get(PATH, headers={"Range": header})

    assert response.status_code == 416
    assert response["Content-Range"] == f"bytes */{len(CONTENT)}"


@pytest.mark.parametrize(
    "headers",
    [
        {"Range": "bytes=0-1,5-6"},
        {"Range": "bytes=5-2"},
        {"Range": "bytes=-"},
        {"Range": "lines=1-2"},
        {"Range": "bytes=" + "9" * 400 + "-"},
        {"Range": "bytes=0-1", "If-Range": '"another"'},
        {"Range": "bytes=0-1", "If-Range": "W/" + ETAG},
    ],
)
def test_a_range_that_is_none_gives_the_whole(
    viewer_api: APIClient, release: Release, headers: dict[str, str]
):
    response = viewer_api.get(PATH, headers=headers)

    assert response.status_code == 200
    assert body(response) == CONTENT


def test_who_has_it_is_told_so(viewer_api: APIClient, release: Release):
    response = viewer_api.get(PATH, headers={"If-None-Match": f'"x", {ETAG}'})

    assert response.status_code == 304
    assert body(response) == b""


def test_the_id_of_a_release_names_it_too(viewer_api: APIClient, release: Release):
    assert viewer_api.get(f"/api/v1/artifacts/player/{release.pk}/bundle").status_code == 200


def test_nginx_may_take_over(viewer_api: APIClient, release: Release, artifact: Artifact):
    with override_settings(ARTIFACT_ACCEL_PREFIX="/media-internal"):
        response = viewer_api.get(PATH)

    assert response["X-Accel-Redirect"] == f"/media-internal/{artifact.file.name}"
    assert body(response) == b""


def test_a_device_gets_what_is_for_its_role_or_for_every_role(organization: Organization):
    device = DeviceFactory(organization=organization, device_id="p-1", role="player")
    mine = ReleaseFactory(organization=organization, version="3.0")
    for role in ("", "player", "recorder"):
        stored_artifact(mine, CONTENT, role=role)
    published(mine)
    client = APIClient(headers={"X-Device-Token": token_of(device)})
    statuses = {
        role: client.get(f"/api/v1/artifacts/{role}/3.0/bundle").status_code
        for role in ("any", "player", "recorder", "nobody")
    }

    assert statuses == {"any": 200, "player": 200, "recorder": 404, "nobody": 404}


def test_a_device_sees_no_draft(device: Device, device_api: APIClient):
    draft = ReleaseFactory(organization=device.organization, version="4.0")
    stored_artifact(draft, CONTENT)

    assert device_api.get("/api/v1/artifacts/any/4.0/bundle").status_code == 404


def test_a_stranger_finds_nothing(
    stranger_api: APIClient, anonymous_api: APIClient, release: Release
):
    for what in ("bundle", "checksums", "manifest"):
        path = f"/api/v1/artifacts/player/2.0/{what}"
        assert stranger_api.get(path).status_code == 404
        assert stranger_api.get(path.replace("2.0", str(release.pk))).status_code == 404
        assert anonymous_api.get(path).status_code == 401


def test_checksums_list_every_file(viewer_api: APIClient, organization: Organization):
    release = ReleaseFactory(organization=organization, version="5.0")
    files = [{"path": "a", "sha256": "0" * 64, "size": 1, "mode": "0644"}]
    stored_artifact(release, CONTENT, files=files)
    published(release)

    told = viewer_api.get("/api/v1/artifacts/any/5.0/checksums").json()

    assert told["files"] == files
    assert told["bundle"] == {"size": len(CONTENT), "sha256": ETAG.strip('"')}
    assert (told["version"], told["role"]) == ("5.0", "any")


# --- signed links ---


def link_of(artifact: Artifact, now: datetime | None = None) -> str:
    parts = urlsplit(bundle_link(artifact=artifact, now=now or clock.now()).url)
    return f"{parts.path}?{parts.query}"


def test_a_link_works_without_any_credential(anonymous_api: APIClient, artifact: Artifact):
    link = link_of(artifact)

    assert body(anonymous_api.get(link)) == CONTENT
    assert anonymous_api.head(link).status_code == 200
    assert anonymous_api.get(link, headers={"Range": "bytes=1-3"}).status_code == 206
    assert bundle_link(artifact=artifact, now=clock.now()).expires_in_s <= 300


def test_a_link_is_for_get_and_head_only(anonymous_api: APIClient, artifact: Artifact):
    link = link_of(artifact)

    for method in ("post", "put", "patch", "delete"):
        assert getattr(anonymous_api, method)(link).status_code == 405


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("/bundle?", "/checksums?"),
        ("/bundle?", "/manifest?"),
        ("/player/", "/any/"),
        ("signature=", "signature=0"),
        ("expires=", "expires=1"),
        ("key=", "key=0"),
        ("&key=", "&nokey="),
        ("expires=", "expires=-"),
        ("signature=", "signature=%00"),
        ("signature=", "signature=%C3%BC"),
    ],
)
def test_an_altered_link_is_refused(
    anonymous_api: APIClient, artifact: Artifact, old: str, new: str
):
    response = anonymous_api.get(link_of(artifact).replace(old, new))

    assert response.status_code in {401, 403, 422}


def test_a_link_opens_no_other_object(anonymous_api: APIClient, artifact: Artifact):
    organization = artifact.organization
    other = ReleaseFactory(organization=organization, version="2.1", roles=["player"])
    stored_artifact(other, CONTENT, role="player")
    published(other, counter=2)
    foreign = ReleaseFactory(version="2.0", roles=["player"])
    stored_artifact(foreign, CONTENT, role="player")
    published(foreign)
    link = link_of(artifact)

    for wrong in (other.pk, foreign.pk, "2.0"):
        response = anonymous_api.get(link.replace(str(artifact.release_id), str(wrong)))
        assert response.status_code == 403
        assert response.json()["code"] == "link_refused"


@pytest.mark.parametrize(("age", "status"), [(0, 200), (295, 200), (301, 403), (-300, 403)])
def test_a_link_ends(anonymous_api: APIClient, artifact: Artifact, age: int, status: int):
    """One from the future is of a portal whose clock was wrong: it would work for too long."""
    link = link_of(artifact, now=clock.now() - timedelta(seconds=age))

    assert anonymous_api.get(link).status_code == status


def test_a_link_ends_with_the_withdrawal(anonymous_api: APIClient, artifact: Artifact):
    link = link_of(artifact)
    Release.objects.filter(pk=artifact.release_id).update(
        state="withdrawn", withdrawn_at=clock.now()
    )

    assert anonymous_api.get(link).status_code == 403


def test_a_new_secret_lets_links_of_the_old_one_end_by_themselves(
    anonymous_api: APIClient, artifact: Artifact, settings: Any
):
    link = link_of(artifact)
    old = settings.SECRET_KEY

    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "another", [old]
    assert anonymous_api.get(link).status_code == 200
    settings.SECRET_KEY_FALLBACKS = []
    assert anonymous_api.get(link).status_code == 403


def test_a_bundle_that_was_cleaned_away_is_not_found(viewer_api: APIClient, artifact: Artifact):
    Artifact.objects.filter(pk=artifact.pk).update(
        status="removed", removed_at=clock.now(), file=""
    )

    assert viewer_api.get(PATH).status_code == 404
    assert limits.ARTIFACT_LINK_S <= 300


@pytest.mark.django_db(transaction=True)
def test_no_transaction_and_no_connection_is_held_while_a_bundle_is_read(
    release: Release, organization: Organization
):
    _, secret = api_key(organization, "viewer")
    client = Client(headers={"X-API-Key": secret})

    response = client.get(PATH)

    assert connection.connection is None
    assert b"".join(response.streaming_content) == CONTENT  # type: ignore[attr-defined]
    assert connection.connection is None


def test_behind_an_event_loop_a_bundle_is_never_collected_whole():
    async def collected(response: Any) -> bytes:
        return b"".join([piece async for piece in response])

    answer = streamed_bytes(AsyncRequestFactory().get("/"), io.BytesIO(CONTENT), length=4)

    assert answer.is_async
    assert async_to_sync(collected)(answer) == CONTENT[:4]
