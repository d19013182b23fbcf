"""Releases, rollouts and updates of one set of rows."""

from datetime import timedelta

from django.db.models import Max

from common import clock
from devices.models import Device, DeviceGroup, DeviceRecovery, DriftReport, GroupMember
from devices.tests.factories import DeviceFactory
from releases.models import Artifact, Release, SiteCalendar, TrustTarget
from releases.services.manifests import manifests_publish
from releases.services.trust_drafts import drafts_of
from releases.services.trust_repository import repository_ensure
from releases.tests.bundles import bundle, stored_artifact
from releases.tests.factories import (
    DeviceUpdateFactory,
    ReleaseFactory,
    RolloutFactory,
    RolloutStageFactory,
    RolloutTargetFactory,
    listed,
    published,
)
from releases.tests.trust import begun, signature
from tests.world_rows import Rows


def release_rows(rows: Rows) -> None:
    """Add releases of each state, a rollout of each state, and an offered update.

    Releases are the organisation's: what is added for a second device there shares them.
    """
    word = rows.word
    if _is_first(rows):
        _releases(rows)
    published_ones = Release.objects.filter(organization=rows.organization).published()
    ready = published_ones.order_by("counter")[0]
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
    _put_aside(rows)


def _put_aside(rows: Rows) -> None:
    """Add a device in safe mode and in quarantine whose diagnostics say that it is well again."""
    now = clock.now()
    device = DeviceFactory(
        organization=rows.organization,
        device_id=f"{rows.word}-aside",
        name=f"{rows.word} aside",
        role=rows.device.role,
        safe_mode=True,
        lifecycle=Device.Lifecycle.QUARANTINED,
    )
    GroupMember.objects.create(
        organization=rows.organization,
        device=device,
        group=DeviceGroup.objects.get(pk=rows.names["group_id"]),
    )
    DeviceRecovery.objects.create(
        organization=rows.organization,
        device=device,
        safe_mode_since=now,
        source="operator",
        reason=f"{rows.word} trouble",
        entered_by=f"{rows.word} author",
        quarantined_until=now + timedelta(days=1),
        diagnostics={"logs": [f"{rows.word} log"], "checks": [{"name": "disk", "passed": True}]},
        diagnostics_at=now,
        checks_passed=True,
    )
    rows.names |= {"aside_device_id": device.device_id, "aside_device_pk": str(device.pk)}
    rows.ids.append(str(device.pk))


def _is_first(rows: Rows) -> bool:
    return rows.word == rows.organization.slug


def _releases(rows: Rows) -> None:
    word = rows.word
    repository_ensure(organization=rows.organization, actor=None, now=clock.now())
    draft = _release(rows, f"{word}-draft")
    validated = _release(rows, f"{word}-validated")
    Release.objects.filter(pk=validated.pk).update(state="validated", validated_at=clock.now())
    ready = published(_release(rows, f"{word}-1"), counter=_counter(rows))
    # The first ones' are signed by `trust_rows`.
    if not _is_first(rows):
        _manifest(rows, ready.artifacts.get())
    rows.names |= {
        "draft_version": draft.version,
        "draft_release_id": str(draft.pk),
        "validated_version": validated.version,
        "validated_release_id": str(validated.pk),
        "version": ready.version,
        "release_id": str(ready.pk),
        "artifact_id": str(ready.artifacts.get().pk),
        "new_version": f"{word}-new",
    }
    rows.ids += [str(draft.pk), str(validated.pk), str(ready.pk), rows.names["artifact_id"]]


def _counter(rows: Rows) -> int:
    highest = Release.objects.filter(organization=rows.organization).aggregate(Max("counter"))
    return int(highest["counter__max"] or 0) + 1


def _release(rows: Rows, version: str) -> Release:
    word = rows.organization.slug
    release: Release = ReleaseFactory(
        organization=rows.organization,
        version=version,
        roles=[rows.device.role] if _is_first(rows) else [],
        changelog=f"{word} changes",
        created_by=f"{word} author",
    )
    _bundle(rows, release)
    return release


def _bundle(rows: Rows, release: Release) -> None:
    word = rows.organization.slug
    role = rows.device.role if _is_first(rows) else ""
    listed = {"path": f"{word}.txt", "sha256": "0" * 64, "size": 1, "mode": "0644"}
    stored_artifact(release, bundle({listed["path"]: word}), role=role, files=[listed])


def _manifest(rows: Rows, artifact: Artifact) -> None:
    release = artifact.release
    TrustTarget.objects.create(
        organization=rows.organization,
        release=release,
        artifact=artifact,
        path=f"general/{artifact.role}/{release.version}/manifest.json",
        sha256="0" * 64,
        content=b'{"release": "%s"}' % release.version.encode(),
        created_at=clock.now(),
    )


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
        version = f"{rows.organization.slug}-{counter}"
        release = listed(published(_release(rows, version), counter=counter))
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
        RolloutTargetFactory(
            rollout=rollout,
            device=Device.objects.get(pk=rows.names["pending_device_pk"]),
            left_out="hold-back group",
        )
        rows.names |= {f"{name}_id": str(rollout.pk), f"{name}_version": release.version}
        rows.ids += [str(rollout.pk), *([str(release.pk)] if _is_first(rows) else [])]


def _updates(rows: Rows, release: Release) -> None:
    common = {"device": rows.device, "release": release, "error": f"{rows.word} error"}
    ended = DeviceUpdateFactory(**common, status="failed", finished_at=clock.now())
    # For a canary: what is signed for general waits for a key.
    update = DeviceUpdateFactory(
        **common,
        kind="command",
        segment="canary",
        status="offered",
        artifact=release.artifacts.get(),
    )
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
