"""Releases, rollouts and updates of one set of rows."""

from datetime import timedelta

from django.db.models import Max

from common import clock
from devices.models import Device, DriftReport
from releases.models import Release, SiteCalendar
from releases.services.manifests import manifests_publish
from releases.services.trust_drafts import drafts_of
from releases.tests.factories import (
    ArtifactFactory,
    DeviceUpdateFactory,
    ReleaseFactory,
    RolloutFactory,
    RolloutStageFactory,
    RolloutTargetFactory,
    published,
)
from releases.tests.trust import begun, signature
from tests.world_rows import Rows


def release_rows(rows: Rows) -> None:
    """Add a draft, published releases with a rollout in every state, and an offered update."""
    word = rows.word
    draft = _release(rows, f"{word}-draft")
    ready = published(_release(rows, f"{word}-1"), counter=_counter(rows))
    rows.names |= {
        "draft_version": draft.version,
        "draft_release_id": str(draft.pk),
        "version": ready.version,
        "release_id": str(ready.pk),
        "artifact_id": str(ready.artifacts.get().pk),
        "new_version": f"{word}-new",
    }
    rows.ids += [str(draft.pk), str(ready.pk), rows.names["artifact_id"]]
    _rollouts(rows)
    _updates(rows, ready)
    calendar = SiteCalendar.objects.create(
        organization=rows.organization, site=f"{word} site", created_at=clock.now()
    )
    drift = DriftReport.objects.create(
        organization=rows.organization,
        device=rows.device,
        release=ready.version,
        items=[{"path": f"/srv/{word}", "kind": "changed", "expected": "a", "actual": "b"}],
        count=1,
        first_at=clock.now(),
        last_at=clock.now(),
    )
    rows.names |= {"calendar_id": str(calendar.pk), "drift_id": str(drift.pk)}
    rows.ids += [str(calendar.pk), str(drift.pk)]


def _counter(rows: Rows) -> int:
    highest = Release.objects.filter(organization=rows.organization).aggregate(Max("counter"))
    return int(highest["counter__max"] or 0) + 1


def _release(rows: Rows, version: str) -> Release:
    release: Release = ReleaseFactory(
        organization=rows.organization,
        version=version,
        roles=[rows.device.role],
        changelog=f"{rows.word} changes",
        created_by=f"{rows.word} author",
    )
    ArtifactFactory(release=release, files=[{"path": f"{rows.word}.txt"}])
    return release


def _rollouts(rows: Rows) -> None:
    now = clock.now()
    started = {"started_at": now - timedelta(hours=1)}
    states = {
        "draft_rollout": {"status": "draft"},
        "unapproved_rollout": {"status": "awaiting_approval", "approval_needed": True},
        "rollout": {"status": "running", **started},
        "paused_rollout": {"status": "paused", **started},
        "halted_rollout": {"status": "halted", **started},
    }
    for name, fields in states.items():
        counter = _counter(rows)
        release = published(_release(rows, f"{rows.word}-{counter}"), counter=counter)
        rollout = RolloutFactory(
            release=release,
            name=f"{rows.word} {name}",
            selection={"devices": [rows.device.device_id]},
            reason=f"{rows.word} why",
            created_by=f"{rows.word} author",
            **fields,
        )
        for position, segment in enumerate(Device.Segment.values):
            opened = now if position == 0 and "started_at" in fields else None
            RolloutStageFactory(
                rollout=rollout, position=position, segment=segment, opened_at=opened
            )
        RolloutTargetFactory(rollout=rollout, device=rows.device)
        rows.names |= {f"{name}_id": str(rollout.pk), f"{name}_version": release.version}
        rows.ids += [str(rollout.pk), str(release.pk)]


def _updates(rows: Rows, release: Release) -> None:
    common = {"device": rows.device, "release": release, "error": f"{rows.word} error"}
    ended = DeviceUpdateFactory(**common, status="failed", finished_at=clock.now())
    update = DeviceUpdateFactory(**common, status="offered", artifact=release.artifacts.get())
    rows.names |= {"update_id": str(update.pk), "ended_update_id": str(ended.pk)}


def trust_rows(rows: Rows) -> None:
    """Sign a manifest, then begin a ceremony whose list of general waits for two keys."""
    release = Release.objects.get(pk=rows.names["release_id"])
    manifests_publish(release=release, actor=None, now=clock.now())
    begun(rows.organization)
    draft = drafts_of(rows.organization)["general"]
    given = signature(rows.organization, "general", "dan")
    target = release.manifests.get(path__startswith="staged/")
    rows.names |= {
        "metadata_name": "1.root.json",
        "target_path": target.path,
        "draft_role": draft.role,
        "draft_id": str(draft.pk),
        "signature_key": given["keyid"],
        "signature": given["sig"],
    }
    rows.ids += [str(draft.pk), str(target.pk)]
