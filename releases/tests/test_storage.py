"""Bundles in a store that speaks S3, and the setting that chooses it."""

import hashlib
from collections.abc import Iterator
from typing import Any

import boto3
import httpx
import pytest
from django.core.exceptions import ImproperlyConfigured
from moto.server import ThreadedMotoServer
from rest_framework.test import APIClient

from common import clock
from fleetsite.object_storage import storage_of
from releases.models import Artifact
from releases.services.artifact_retention import artifacts_retire
from releases.services.signed_links import bundle_link
from releases.tests.bundles import bundle
from releases.tests.factories import published

URL = "/api/v1/releases"
KEYS = {"ARTIFACT_STORAGE_KEY": "a-key", "ARTIFACT_STORAGE_SECRET": "a-secret"}


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(endpoint: str, settings: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    settings.MEDIA_ROOT = tmp_path
    chosen = storage_of(f"s3://bundles/of/acme?endpoint={endpoint}&region=eu-central-1")
    settings.STORAGES = {**settings.STORAGES, "artifacts": chosen}
    made = boto3.resource(
        "s3",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id="a-key",
        aws_secret_access_key="a-secret",
    ).Bucket("bundles")
    made.create()
    return made


@pytest.mark.django_db
def test_a_bundle_lives_in_the_store_from_upload_to_removal(
    bucket: Any,
    admin_api: APIClient,
    anonymous_api: APIClient,
    settings: Any,
    tmp_path: Any,
    django_capture_on_commit_callbacks: Any,
):
    content = bundle()
    admin_api.post(URL, {"version": "1.0", "commit": "a" * 40})
    sent = admin_api.generic(
        "POST", f"{URL}/1.0/artifacts/any/bundle", content, content_type="application/gzip"
    )
    assert sent.status_code == 201
    assert [one.key.startswith("of/acme/releases/bundles/") for one in bucket.objects.all()] == [
        True
    ]
    assert [one for one in tmp_path.rglob("*") if one.is_file()] == []

    assert admin_api.post(f"{URL}/1.0/validate").json()["state"] == "validated"
    artifact = Artifact.objects.get()
    published(artifact.release)
    path = "/api/v1/artifacts/any/1.0/bundle"
    assert b"".join(admin_api.get(path).streaming_content) == content
    piece = admin_api.get(path, headers={"Range": "bytes=5-9"})
    assert (piece.status_code, b"".join(piece.streaming_content)) == (206, content[5:10])

    settings.ARTIFACT_PRESIGNED = True
    link = bundle_link(artifact=artifact, now=clock.now())
    fetched = httpx.get(link.url, headers={"Range": "bytes=0-3"})
    assert (fetched.status_code, fetched.content) == (206, content[:4])
    assert "a-secret" not in link.url
    assert hashlib.sha256(httpx.get(link.url).content).hexdigest() == artifact.sha256

    bucket.objects.all().delete()
    assert admin_api.get(path).status_code == 404
    with django_capture_on_commit_callbacks(execute=True):
        artifacts_retire(now=clock.now())


@pytest.mark.parametrize(
    "url",
    [
        "https://bucket/prefix",
        "s3://",
        "s3://key:secret@bucket",
        "s3://bucket?secret=x",
        "bucket",
    ],
)
def test_a_storage_that_makes_no_sense_stops_the_start(url: str):
    with pytest.raises(ImproperlyConfigured) as caught:
        storage_of(url)

    assert "secret@" not in str(caught.value)


def test_without_the_setting_bundles_lie_on_the_disk():
    assert storage_of("")["BACKEND"].endswith("FileSystemStorage")
