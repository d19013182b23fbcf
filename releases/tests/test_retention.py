"""Which bundles are cleaned away: none that anything runs, rolls out, or could go back to."""

import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.files.storage import default_storage
from rest_framework.test import APIClient

from accounts.models import Organization
from audit.models import AuditEntry
from common import clock, limits
from devices.models import DeviceState
from devices.tests.factories import DeviceFactory
from releases.models import Artifact, Release
from releases.tasks import artifacts_retire
from releases.tests.bundles import stored_artifact
from releases.tests.factories import ReleaseFactory, RolloutFactory, published, update_of

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def media(settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.MEDIA_ROOT = tmp_path
    monkeypatch.setattr(limits, "RELEASES_KEPT", 1)


@pytest.fixture
def releases(organization: Organization) -> dict[str, Release]:
    """One release for each reason to stay, one for none, and the newest."""
    names = ["old", "rollout", "running", "update", "known_good", "way_back", "newest"]
    made = {}
    for counter, name in enumerate(names, start=1):
        release = ReleaseFactory(organization=organization, version=name)
        stored_artifact(release, name.encode())
        made[name] = published(release, counter=counter)
    made["draft"] = ReleaseFactory(organization=organization, version="draft")
    stored_artifact(made["draft"], b"draft")
    device = DeviceFactory(organization=organization)
    DeviceState.objects.filter(device=device).update(version="running")
    now = clock.now()
    ended = {"finished_at": now, "claimed_at": now, "status": "verified"}
    update_of(device, made["old"], **ended)
    update_of(device, made["known_good"], from_version="way_back", **ended)
    update_of(device, made["update"], status="offered")
    RolloutFactory(release=made["rollout"], status="paused", started_at=now)
    over = {"started_at": now, "finished_at": now, "status": "completed"}
    RolloutFactory(release=made["old"], **over)
    return made


def test_the_preview_says_what_would_go_and_why_the_others_stay(
    viewer_api: APIClient, stranger_api: APIClient, releases: dict[str, Release]
):
    told = viewer_api.get("/api/v1/artifacts/retention").json()

    kept = {one["version"]: [why["reason"] for why in one["kept_by"]] for one in told["results"]}
    assert kept == {name: [name] if name != "old" else [] for name in releases}
    assert [one["version"] for one in told["results"] if one["goes"]] == ["old"]
    assert told["bytes_freed"] == len(b"old")
    assert stranger_api.get("/api/v1/artifacts/retention").json()["results"] == []


def test_only_what_nothing_keeps_is_removed(
    releases: dict[str, Release], django_capture_on_commit_callbacks: Any
):
    gone = releases["old"].artifacts.get()

    with django_capture_on_commit_callbacks(execute=True):
        artifacts_retire()
        artifacts_retire()

    left = {one.release.version: one.status for one in Artifact.objects.all()}
    assert left == {name: "stored" if name != "old" else "removed" for name in releases}
    assert not default_storage.exists(gone.file.name)
    entry = AuditEntry.objects.get()
    assert (entry.action, entry.target_id, entry.actor_type) == (
        "artifact.remove",
        str(gone.pk),
        "system",
    )
    kept = Artifact.objects.get(pk=gone.pk)
    assert kept.removed_at is not None
    assert kept.sha256 == gone.sha256


def test_what_uploads_left_goes_after_a_day(
    organization: Organization, tmp_path: Path, django_capture_on_commit_callbacks: Any
):
    now = clock.now()
    ages = {"old": timedelta(days=2), "new": timedelta(hours=1)}
    folder = tmp_path / "releases" / "staging"
    folder.mkdir(parents=True)
    bundles = tmp_path / "releases" / "bundles"
    bundles.mkdir()
    for name, age in ages.items():
        Artifact.objects.create(
            organization=organization,
            release=ReleaseFactory(organization=organization),
            size=10,
            sha256="0" * 64,
            staged=f"releases/staging/{name}",
            created_at=now - age,
        )
        at = (now - age).timestamp()
        for path in (folder / name, folder / f"{name}-stray", bundles / f"{name}-stray"):
            path.write_bytes(b"x")
            os.utime(path, (at, at))

    with django_capture_on_commit_callbacks(execute=True):
        artifacts_retire()

    assert {one.name for one in folder.iterdir()} == {"new", "new-stray"}
    assert {one.name for one in bundles.iterdir()} == {"new-stray"}
    assert [one.staged for one in Artifact.objects.all()] == ["releases/staging/new"]
