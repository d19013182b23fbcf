"""The repository and its keys over HTTP: exact bytes, caching, signatures, strangers."""

from hashlib import sha256

import pytest
from django.db import DatabaseError, transaction
from rest_framework.test import APIClient

from accounts.models import Organization
from common import clock
from releases.models import TrustDraft, TrustMetadata, TrustTarget
from releases.services.manifests import reach_of
from releases.tests.trust import held, release_of, signature

pytestmark = pytest.mark.django_db
METADATA = "/api/v1/trust/metadata"
TARGETS = "/api/v1/trust/targets"
DRAFT = "/api/v1/trust/drafts/general"


def stored(role: str, version: int) -> bytes:
    return bytes(TrustMetadata.objects.get(role=role, version=version).content)


@pytest.mark.parametrize("caller", ["device_api", "viewer_api", "admin_api"])
def test_metadata_comes_byte_for_byte_and_is_cached_for_ever(organization, request, caller):
    release_of(organization, "1.0.0")
    api: APIClient = request.getfixturevalue(caller)

    answer = api.get(f"{METADATA}/1.root.json")

    assert answer.status_code == 200
    assert answer.content == stored("root", 1)
    assert answer["Content-Type"] == "application/json"
    assert answer["Cache-Control"] == "private, max-age=31536000, immutable"
    assert answer["ETag"] == f'"{sha256(answer.content).hexdigest()}"'
    again = api.get(f"{METADATA}/1.root.json", headers={"If-None-Match": answer["ETag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_the_timestamp_and_the_newest_root_are_asked_for_anew_each_time(organization, device_api):
    release_of(organization, "1.0.0")
    release_of(organization, "1.1.0", counter=2)

    timestamp = device_api.get(f"{METADATA}/timestamp.json")

    assert timestamp.content == stored("timestamp", 3)
    assert timestamp["Cache-Control"] == "private, no-cache"
    assert device_api.get(f"{METADATA}/root.json").content == stored("root", 1)


@pytest.mark.parametrize(
    "name", ["snapshot.json", "9.root.json", "0.root.json", "01.root.json", "root", "1.secret.json"]
)
def test_a_name_nothing_has_is_not_found(organization, device_api, name):
    release_of(organization, "1.0.0")

    assert device_api.get(f"{METADATA}/{name}").status_code == 404


def test_a_manifest_is_served_by_its_hash_and_by_its_name(organization, device_api):
    release_of(organization, "1.0.0")
    target = TrustTarget.objects.get(path="staged/any/1.0.0/manifest.json")

    hashed = device_api.get(f"{TARGETS}/staged/any/1.0.0/{target.sha256}.manifest.json")
    named = device_api.get(f"{TARGETS}/{target.path}")

    assert hashed.content == named.content == bytes(target.content)
    assert "immutable" in hashed["Cache-Control"]
    assert named["Cache-Control"] == "private, no-cache"
    other = device_api.get(f"{TARGETS}/staged/any/1.0.0/{'0' * 64}.manifest.json")
    assert other.status_code == 404


def test_a_keeper_signs_what_was_downloaded_and_hands_it_in(organization, admin_api):
    held(organization)
    release = release_of(organization, "1.0.0")
    draft = admin_api.get(DRAFT)
    assert draft.content == bytes(TrustDraft.objects.get(role="general").content)
    assert draft["Content-Disposition"] == 'attachment; filename="general.json"'

    one = admin_api.post(DRAFT, {"signatures": [signature(organization, "general", "dan")]})
    two = admin_api.post(DRAFT, {"signatures": [signature(organization, "general", "fay")]})

    assert one.json() == {"role": "general", "signatures": 1, "missing": 1, "published": []}
    assert two.json()["published"] == ["general"]
    assert reach_of(release) == {"staged", "general"}
    assert admin_api.get(DRAFT).status_code == 404


def test_a_signature_of_somebody_else_is_refused_and_changes_nothing(organization, admin_api):
    held(organization)
    release_of(organization, "1.0.0")
    before = TrustDraft.objects.get().content

    answer = admin_api.post(DRAFT, {"signatures": [signature(organization, "general", "ada")]})

    assert (answer.status_code, answer.json()["code"]) == (422, "signature_refused")
    assert bytes(TrustDraft.objects.get().content) == bytes(before)


@pytest.mark.parametrize(
    "body",
    [{}, {"signatures": []}, {"signatures": [{"keyid": "x", "sig": "y"}]}, {"signatures": 1}],
)
def test_what_is_no_signature_is_refused(organization, admin_api, body):
    held(organization)
    release_of(organization, "1.0.0")

    assert admin_api.post(DRAFT, body).status_code == 422


def test_the_status_names_keepers_and_what_is_missing(organization, viewer_api):
    held(organization)
    release_of(organization, "1.0.0")

    status = viewer_api.get("/api/v1/trust/status").json()

    assert status["mode"] == "offline"
    root = next(one for one in status["roles"] if one["role"] == "root")
    assert [key["holder"] for key in root["keys"]] == ["ada", "bob", "cyd"]
    assert root["threshold"] == 2
    waiting = status["drafts"][0]
    assert (waiting["role"], waiting["version"], waiting["missing"]) == ("general", 2, 2)
    assert {key["holder"] for key in waiting["unsigned"]} == {"dan", "eve", "fay"}
    assert "Signatures are missing for general." in status["warnings"]


def test_before_anything_is_published_the_status_says_so(organization, viewer_api):
    assert viewer_api.get("/api/v1/trust/status").json() == {
        "mode": "none", "roles": [], "drafts": [], "warnings": [],
    }  # fmt: skip


def test_a_stranger_gets_nothing_of_another_organization(
    organization: Organization, stranger_api, device_api
):
    held(organization)
    release_of(organization, "1.0.0")
    target = TrustTarget.objects.get(path="staged/any/1.0.0/manifest.json")

    for path in (
        f"{METADATA}/1.root.json",
        f"{METADATA}/timestamp.json",
        f"{TARGETS}/{target.path}",
        DRAFT,
    ):
        assert stranger_api.get(path).status_code == 404
    given = {"signatures": [signature(organization, "general", "dan")]}
    assert stranger_api.post(DRAFT, given).status_code == 404
    assert device_api.post(DRAFT, given).status_code == 403
    assert stranger_api.get("/api/v1/trust/status").json()["mode"] == "none"


def test_what_was_signed_is_written_once(organization):
    release_of(organization, "1.0.0")

    for rows in (TrustMetadata.objects.all(), TrustTarget.objects.all()):
        with pytest.raises(DatabaseError, match="written once"), transaction.atomic():
            rows.update(content=b"{}")
    assert TrustTarget.objects.update(withdrawn_at=clock.now()) == 2
