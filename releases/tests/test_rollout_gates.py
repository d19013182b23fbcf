"""Gates in Python and in SQL say the same, and so do the two buckets."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accounts.tests.factories import OrganizationFactory
from common.db import fetch_one
from devices.models import Device, DeviceRecovery, DeviceState
from devices.tests.factories import DeviceFactory
from releases.models import Release, Rollout, RolloutTarget, SiteCalendar
from releases.services.candidates import candidate_ids
from releases.services.gates import gates_of
from releases.services.targets import BUCKET_SQL, BUCKETS, HOLDBACK, bucket_of
from releases.tests.factories import (
    ArtifactFactory,
    DeviceUpdateFactory,
    ReleaseFactory,
    RolloutFactory,
    RolloutStageFactory,
    published,
    vouched,
)

# A Saturday at noon.
NOW = datetime(2026, 11, 28, 12, 0, tzinfo=UTC)
HOUR, SECOND = timedelta(hours=1), timedelta(seconds=1)
BOTHER = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.mark.django_db
@settings(max_examples=60, deadline=None)
@given(salt=st.text("0123456789abcdef", min_size=1, max_size=32), name=st.from_regex(
    r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", fullmatch=True))  # fmt: skip
def test_the_bucket_of_a_device_is_the_same_in_python_and_sql(salt: str, name: str):
    statement = f"SELECT {BUCKET_SQL} FROM (SELECT %(name)s::text AS device_id) d"  # noqa: S608

    (bucket,) = fetch_one(statement, {"salt": salt, "name": name})

    assert bucket == bucket_of(salt, name)
    assert 0 <= bucket < BUCKETS


moments = st.sampled_from([None, NOW - HOUR, NOW, NOW + HOUR])
versions = st.sampled_from(["", "1.0.0", "2.0.0"])
rare = st.sampled_from([False, False, False, True])
windows = st.sampled_from([
    [],
    [{"start": "11:00", "duration_minutes": 120, "days": []}],
    [{"start": "13:00", "duration_minutes": 120, "days": []}],
    [{"start": "11:00", "duration_minutes": 120, "days": [0]}],
])  # fmt: skip
blackouts = st.sampled_from([
    [],
    [{"from": "2026-11-28T11:00:00+00:00", "to": "2026-11-28T12:00:00+00:00"}],
    [{"from": "2026-11-28T12:00:00+00:00", "to": "2026-11-28T13:00:00+00:00", "reason": "feast"}],
])  # fmt: skip
devices = st.fixed_dictionaries({
    "lifecycle": st.sampled_from(["active", "active", "active", "quarantined", "pending"]),
    "segment": st.sampled_from(["canary", "early", "general"]),
    "role": st.sampled_from(["kiosk", "sign", ""]),
    "site": st.sampled_from(["", "north", "south"]),
    "maintenance_mode": rare,
    "safe_mode": rare,
    "update_enabled": st.sampled_from([True, True, False]),
    "version_lock": st.sampled_from(["", "", "1.0.0", "2.0.0"]),
    "version_lock_expires_at": moments,
    "quarantined_until": moments,
    "running": versions,
    "health": st.sampled_from(["healthy", "offline", "unknown"]),
    "bucket": st.sampled_from([0, 999, 1000, 4999, 5000, 9999]),
    "left_out": st.sampled_from(["", "", "", HOLDBACK, "a reason"]),
    "before": st.sampled_from([None, None, None, "other open", "failed at it", "failed at other"]),
})  # fmt: skip
plans = st.fixed_dictionaries({
    "state": st.sampled_from(["published", "published", "withdrawn"]),
    "status": st.sampled_from(["running", "running", "running", "paused", "halted"]),
    "roles": st.sampled_from([[], ["kiosk"], ["kiosk", "sign"]]),
    "bundles": st.sampled_from([[""], ["kiosk"], ["kiosk", "sign"]]),
    "is_vouched": st.sampled_from([True, True, True, False]),
    "opened": st.integers(0, 3),
    "percentages": st.tuples(*[st.sampled_from([10, 50, 100])] * 3),
    "use_calendars": st.booleans(),
    "calendar": st.tuples(windows, blackouts),
    "window": windows,
    "blackouts": blackouts,
    "rate": st.sampled_from([None, None, 1, 3]),
    "concurrency": st.sampled_from([None, None, 1, 3]),
    "before": st.lists(st.sampled_from(["scheduled", "offered", "downloading"]), max_size=2),
    "keeps_place": st.booleans(),
    "before_at": st.sampled_from([NOW - HOUR, NOW - 61 * SECOND, NOW - 30 * SECOND]),
})  # fmt: skip


def laid_out(plan: dict[str, Any], fleet: list[dict[str, Any]]) -> Rollout:
    """Write a generated rollout with its fleet."""
    organization = OrganizationFactory()
    release = ReleaseFactory(organization=organization, version="2.0.0", roles=plan["roles"])
    for role in plan["bundles"]:
        ArtifactFactory(release=release, role=role)
    published(release)
    if plan["is_vouched"]:
        vouched(release)
    if plan["state"] == "withdrawn":
        Release.objects.filter(pk=release.pk).update(state="withdrawn", withdrawn_at=NOW)
        release.refresh_from_db()
    closed, dark = plan["calendar"]
    SiteCalendar.objects.create(
        organization=organization, site="north", windows=closed, blackouts=dark, created_at=NOW
    )
    rollout = RolloutFactory(
        release=release,
        status=plan["status"],
        started_at=NOW,
        use_calendars=plan["use_calendars"],
        window={**plan["window"][0], "timezone": "UTC"} if plan["window"] else None,
        blackouts=plan["blackouts"],
        rate_per_minute=plan["rate"],
        concurrency=plan["concurrency"],
    )
    for at, segment in enumerate(Device.Segment.values):
        RolloutStageFactory(
            rollout=rollout,
            position=at,
            segment=segment,
            percentage=plan["percentages"][at],
            opened_at=NOW if at < plan["opened"] else None,
        )
    for status in plan["before"]:
        DeviceUpdateFactory(
            release=release,
            rollout=rollout,
            status=status,
            scheduled_at=plan["before_at"],
            keeps_place=plan["keeps_place"],
        )
    other = ReleaseFactory(organization=organization, version="1.0.0")
    for given_device in fleet:
        _device(rollout, other, dict(given_device))
    return rollout


def _device(rollout: Rollout, other: Release, values: dict[str, Any]) -> None:
    release, organization = rollout.release, rollout.organization
    until, running, health, bucket, left_out, before = (
        values.pop(name)
        for name in ("quarantined_until", "running", "health", "bucket", "left_out", "before")
    )
    device = DeviceFactory(
        organization=organization, state__version=running, state__health=health, **values
    )
    if until:
        DeviceRecovery.objects.create(
            device=device, organization=organization, quarantined_until=until
        )
    RolloutTarget.objects.create(
        organization=organization,
        rollout=rollout,
        device=device,
        segment=device.segment,
        bucket=bucket,
        left_out=left_out,
        added_at=NOW,
    )
    if before == "other open":
        DeviceUpdateFactory(release=other, device=device)
    elif before:
        DeviceUpdateFactory(
            release=release if before == "failed at it" else other,
            device=device,
            status="failed",
            finished_at=NOW,
        )


@pytest.mark.django_db
@BOTHER
@given(plan=plans, fleet=st.lists(devices, min_size=1, max_size=5))
def test_the_gates_let_exactly_those_through_whom_the_sweep_takes(
    plan: dict[str, Any], fleet: list[dict[str, Any]]
):
    with transaction.atomic():
        rollout = laid_out(plan, fleet)
        taken = set(candidate_ids(rollout=rollout, now=NOW))

        passing = set()
        for target in RolloutTarget.objects.filter(rollout=rollout).select_related("device"):
            told = gates_of(device=target.device, release=rollout.release, rollout=rollout, now=NOW)
            if all(gate.passed for gate in told):
                passing.add(target.pk)

        # The sweep takes no more than there is room for; the gate lets anybody through until then.
        assert taken <= passing
        room = min(rollout.rate_per_minute or 9, rollout.concurrency or 9)
        assert len(taken) >= min(len(passing), 1)
        assert taken == passing or len(taken) <= room
        transaction.set_rollback(True)


@pytest.mark.django_db
def test_each_gate_tells_what_it_saw_and_when_that_can_change():
    rollout = laid_out(
        {
            "state": "published", "status": "running", "roles": [], "bundles": [""],
            "is_vouched": True, "opened": 1, "percentages": (100, 100, 100),
            "use_calendars": True, "window": [{"start": "13:00", "duration_minutes": 60}],
            "calendar": ([{"start": "22:00", "duration_minutes": 60}], []),
            "blackouts": [{"from": "2026-11-28T10:00:00Z", "to": "2026-11-28T12:30:00Z",
                           "reason": "feast"}],
            "rate": 1, "concurrency": 1, "before": ["downloading"], "keeps_place": False,
            "before_at": NOW - timedelta(seconds=20),
        },
        [],
    )  # fmt: skip
    rollout.stages.filter(position=0).update(soaking_since=NOW, soak_minutes=90)
    device = DeviceFactory(
        organization=rollout.organization, segment="early", site="north", role="kiosk",
        version_lock="1.0.0", version_lock_owner="Ada", version_lock_reason="an exam",
        version_lock_expires_at=NOW + HOUR,
    )  # fmt: skip
    DeviceRecovery.objects.create(
        device=device, organization=device.organization, quarantined_until=NOW + 2 * HOUR
    )
    DeviceState.objects.filter(device=device).update(version="1.0.0")
    RolloutTarget.objects.create(
        organization=device.organization, rollout=rollout, device=device, segment="early",
        bucket=4_200, added_at=NOW,
    )  # fmt: skip

    told = gates_of(device=device, release=rollout.release, rollout=rollout, now=NOW)

    waits = {gate.gate: (gate.seen, gate.changes_at) for gate in told if not gate.passed}
    assert waits == {
        "quarantine": ("until 2026-11-28 14:00 UTC", NOW + 2 * HOUR),
        "version_lock": ("1.0.0 by Ada: an exam", NOW + HOUR),
        "stage": ("canary open", NOW + timedelta(minutes=90)),
        "calendar": ("closed", NOW + 10 * HOUR),
        "window": ("closed", NOW + HOUR),
        "blackout": ("until 2026-11-28 12:30 UTC: feast", NOW + HOUR / 2),
        "rate": ("1 begun in the last minute", NOW + timedelta(seconds=40)),
        "concurrency": ("1 in flight", None),
    }
