"""Releases over REST: from the first draft to the withdrawal."""

import hashlib
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from rest_framework.test import APIClient

from accounts.models import Organization
from accounts.principals import Principal
from audit.models import AuditEntry
from common import clock, limits
from releases.models import Artifact, Release
from releases.services import publishing
from releases.tests.bundles import bundle
from releases.tests.factories import ReleaseFactory, RolloutFactory, published

pytestmark = pytest.mark.django_db
URL = "/api/v1/releases"
COMMIT = "a" * 40
BAD = {"compose.yml": "services:\n  app:\n    image: app\n"}


@pytest.fixture(autouse=True)
def media(settings: Any, tmp_path: Any) -> None:
    settings.MEDIA_ROOT = tmp_path


def created(api: APIClient, version: str = "1.0", **fields: Any) -> Any:
    return api.post(URL, {"version": version, "commit": COMMIT, **fields})


def uploaded(api: APIClient, version: str = "1.0", *, role: str = "any", content: bytes) -> Any:
    return api.generic(
        "POST",
        f"{URL}/{version}/artifacts/{role}/bundle",
        content,
        content_type="application/gzip",
        headers={"X-Content-SHA256": hashlib.sha256(content).hexdigest()},
    )


def test_a_release_goes_from_draft_to_published_to_withdrawn(admin_api: APIClient):
    assert created(admin_api, changelog="first").status_code == 201
    assert uploaded(admin_api, content=bundle()).status_code == 201

    validated = admin_api.post(f"{URL}/1.0/validate").json()
    issued = admin_api.post(f"{URL}/1.0/publish").json()
    latest = admin_api.get(f"{URL}/latest").json()
    gone = admin_api.post(f"{URL}/1.0/withdraw", {"reason": "it leaks"}).json()

    assert (validated["state"], validated["findings"]) == ("validated", [])
    assert (issued["state"], issued["counter"]) == ("published", 1)
    assert latest["version"] == "1.0"
    assert (gone["state"], gone["withdrawn_reason"]) == ("withdrawn", "it leaks")
    assert admin_api.get(f"{URL}/latest").status_code == 404
    artifact = Artifact.objects.get()
    assert len(artifact.files) == 4
    assert artifact.compose_path == "compose.yml"
    actions = ["release.create", "artifact.store", "release.validate", "release.publish"]
    own = AuditEntry.objects.exclude(action__startswith="trust.").order_by("seq")
    logged = own.values_list("action", flat=True)
    assert list(logged) == [*actions, "release.withdraw"]


def test_what_failed_validation_is_never_published(admin_api: APIClient):
    created(admin_api)
    assert admin_api.post(f"{URL}/1.0/publish").json()["code"] == "release_state"
    uploaded(admin_api, content=bundle(BAD))

    told = admin_api.post(f"{URL}/1.0/validate").json()
    refused = admin_api.post(f"{URL}/1.0/publish")

    assert told["state"] == "draft"
    assert refused.status_code == 422
    assert refused.json()["code"] == "release_invalid"
    assert refused.json()["findings"][0]["rule"] == "image"


def test_a_change_makes_a_validated_release_a_draft_again(admin_api: APIClient):
    created(admin_api)
    uploaded(admin_api, content=bundle())
    for change in (
        lambda: admin_api.patch(f"{URL}/1.0", {"changelog": "more"}),
        lambda: uploaded(admin_api, content=bundle({**BAD, "x": "y"})),
    ):
        admin_api.post(f"{URL}/1.0/validate")
        change()

        kept = admin_api.get(f"{URL}/1.0").json()
        assert (kept["state"], kept["findings"], kept["validated_at"]) == ("draft", [], None)
        assert admin_api.post(f"{URL}/1.0/publish").status_code == 409


def test_the_same_bundle_again_changes_nothing(admin_api: APIClient):
    created(admin_api)
    uploaded(admin_api, content=bundle())
    admin_api.post(f"{URL}/1.0/validate")

    assert uploaded(admin_api, content=bundle()).status_code == 201
    assert admin_api.get(f"{URL}/1.0").json()["state"] == "validated"


def test_a_published_release_never_changes(admin_api: APIClient, organization: Organization):
    published(ReleaseFactory(organization=organization, version="1.0"))

    refusals = [
        admin_api.patch(f"{URL}/1.0", {"changelog": "x"}),
        admin_api.delete(f"{URL}/1.0"),
        admin_api.post(f"{URL}/1.0/validate"),
        uploaded(admin_api, content=bundle()),
    ]

    assert [(one.status_code, one.json()["code"]) for one in refusals] == [
        (409, "release_frozen")
    ] * 4
    assert admin_api.post(f"{URL}/1.0/publish").status_code == 409
    assert Artifact.objects.count() == 0


def test_every_role_needs_a_bundle(admin_api: APIClient):
    created(admin_api, roles=["player", "recorder"])
    uploaded(admin_api, role="player", content=bundle())
    assert uploaded(admin_api, role="other", content=bundle()).status_code == 422

    lacking = admin_api.post(f"{URL}/1.0/validate").json()
    uploaded(admin_api, role="any", content=bundle())
    whole = admin_api.post(f"{URL}/1.0/validate").json()

    assert lacking["findings"][0]["rule"] == "bundle"
    assert "recorder" in lacking["findings"][0]["message"]
    assert whole["state"] == "validated"


def test_counters_go_up_by_one_in_each_organisation(
    admin: Principal, stranger: Principal, organization: Organization
):
    for counter, owner in ((1, admin), (2, admin), (1, stranger), (3, admin)):
        release = ReleaseFactory(organization=owner.organization)
        Release.objects.filter(pk=release.pk).update(state="validated")

        done = publishing.release_publish(release=release, actor=owner, now=release.created_at)
        assert done.counter == counter


def test_a_version_is_used_once_and_means_nothing_else(admin_api: APIClient):
    assert created(admin_api).status_code == 201

    assert created(admin_api).status_code == 409
    for version in ("latest", "01a22263-3c9b-74c0-a69f-55ea56b5d8b8", "a/b", ""):
        assert created(admin_api, version).status_code == 422
    assert created(admin_api, "2.0", roles=["any"]).status_code == 422
    assert created(admin_api, "2.0", feature_flags={"a": {"b": 1}}).status_code == 422


def test_the_list_is_narrowed_and_ordered(viewer_api: APIClient, organization: Organization):
    ReleaseFactory(organization=organization, version="1", channel="beta", roles=["player"])
    published(ReleaseFactory(organization=organization, version="2", changelog="big change"))
    published(ReleaseFactory(organization=organization, version="3", roles=["recorder"]), counter=2)
    ReleaseFactory(version="foreign")

    def listed(query: str) -> list[str]:
        return [one["version"] for one in viewer_api.get(f"{URL}?{query}").json()["results"]]

    # Ids of one millisecond have no order.
    assert set(listed("")) == {"3", "2", "1"}
    assert listed("state=published&ordering=counter") == ["2", "3"]
    assert listed("channel=beta") == ["1"]
    assert set(listed("role=player")) == {"2", "1"}
    assert listed("search=big") == ["2"]
    assert listed("role=nobody") == ["2"]
    latest = {
        role: viewer_api.get(f"{URL}/latest?role={role}").json().get("version")
        for role in ("player", "recorder", "any")
    }
    assert latest == {"player": "2", "recorder": "3", "any": "3"}


def test_a_form_makes_a_release_with_its_bundle(admin_api: APIClient):
    content = bundle()
    response = admin_api.post(
        URL,
        {
            "version": "1.0",
            "commit": COMMIT,
            "roles": "player, recorder",
            "feature_flags": '{"fast": true}',
            "file": SimpleUploadedFile("b.tar.gz", content, "application/gzip"),
            "sha256": hashlib.sha256(content).hexdigest(),
        },
        format="multipart",
    )

    told = response.json()
    assert response.status_code == 201
    assert told["roles"] == ["player", "recorder"]
    assert told["feature_flags"] == {"fast": True}
    assert [(one["role"], one["status"]) for one in told["artifacts"]] == [("any", "stored")]


def test_a_form_with_a_damaged_bundle_makes_nothing(admin_api: APIClient):
    response = admin_api.post(
        URL,
        {
            "version": "1.0",
            "commit": COMMIT,
            "file": SimpleUploadedFile("b.tar.gz", b"x", "application/gzip"),
            "sha256": "0" * 64,
        },
        format="multipart",
    )

    assert response.status_code == 422
    assert Release.objects.count() == 0


def test_a_draft_is_thrown_away_with_its_files(
    admin_api: APIClient,
    organization: Organization,
    tmp_path: Any,
    django_capture_on_commit_callbacks: Any,
):
    created(admin_api)
    uploaded(admin_api, content=bundle())
    planned = ReleaseFactory(organization=organization, version="planned")
    RolloutFactory(release=planned)

    with django_capture_on_commit_callbacks(execute=True):
        assert admin_api.delete(f"{URL}/1.0").status_code == 204
    assert admin_api.delete(f"{URL}/planned").status_code == 409
    assert [one for one in tmp_path.rglob("*") if one.is_file()] == []


def test_a_pipeline_checks_a_bundle_and_nothing_is_kept(admin_api: APIClient, tmp_path: Any):
    raw = admin_api.generic(
        "POST", "/api/v1/artifacts/validate", bundle(), content_type="application/gzip"
    )
    form = admin_api.post(
        "/api/v1/artifacts/validate",
        {"file": SimpleUploadedFile("b.tar.gz", bundle(BAD), "application/gzip")},
        format="multipart",
    )

    assert raw.status_code == form.status_code == 200
    assert raw.json()["valid"] is True
    assert raw.json()["compose"]["path"] == "compose.yml"
    assert len(raw.json()["files"]) == 4
    assert form.json()["valid"] is False
    assert [one for one in tmp_path.rglob("*") if one.is_file()] == []
    assert AuditEntry.objects.count() == 0


def test_a_bundle_over_the_cap_is_refused(admin_api: APIClient, monkeypatch: pytest.MonkeyPatch):
    created(admin_api)
    monkeypatch.setattr(limits, "ARTIFACT_BYTES", 100)

    refused = [
        uploaded(admin_api, content=b"x" * 101),
        admin_api.generic(
            "POST", "/api/v1/artifacts/validate", b"x" * 101, content_type="application/gzip"
        ),
    ]

    assert [one.status_code for one in refused] == [422, 422]
    assert Artifact.objects.count() == 0


def test_a_stranger_finds_nothing_and_an_operator_changes_nothing(
    stranger_api: APIClient, operator_api: APIClient, organization: Organization
):
    ReleaseFactory(organization=organization, version="1.0")
    calls: list[tuple[str, str, dict[str, Any]]] = [
        ("get", "", {}),
        ("patch", "", {"changelog": "x"}),
        ("delete", "", {}),
        ("post", "/validate", {}),
        ("post", "/publish", {}),
        ("post", "/withdraw", {"reason": "x"}),
    ]
    for method, path, body in calls:
        url = f"{URL}/1.0{path}"
        assert getattr(stranger_api, method)(url, body).status_code == 404
        if method != "get":
            assert getattr(operator_api, method)(url, body).status_code == 403
    assert uploaded(stranger_api, content=bundle()).status_code == 404
    assert uploaded(operator_api, content=bundle()).status_code == 403
    assert created(operator_api).status_code == 403


def test_a_withdrawn_release_halts_its_rollout(admin_api: APIClient, organization: Organization):
    release = published(ReleaseFactory(organization=organization, version="1.0"))
    rollout = RolloutFactory(release=release, status="running", started_at=clock.now())

    admin_api.post(f"{URL}/1.0/withdraw", {"reason": "it leaks"})

    rollout.refresh_from_db()
    assert (rollout.status, rollout.reason) == ("halted", "The release was withdrawn: it leaks")
