"""A halt stops what has not begun, at once; the way back reaches whoever was updated."""

from typing import Any

import pytest

from accounts.principals import Principal
from audit.models import AuditEntry
from common import clock, limits
from devices.models import Device
from releases.errors import RolloutConflict
from releases.models import DeviceUpdate, Rollout, RolloutEvent, RolloutTarget
from releases.services.advance import rollouts_advance
from releases.services.guardrails import rollout_judge
from releases.services.halting import rollout_halt, rollout_rollback
from releases.services.rollbacks import rollbacks_advance
from releases.tests.updating import (
    api_as,
    device_of,
    heard,
    release_of,
    rollout_of,
    said,
    updating,
)

pytestmark = pytest.mark.django_db


@pytest.fixture
def rollout(organization: Any) -> Rollout:
    release_of(organization, "1.0.0", counter=1)
    return rollout_of(release_of(organization, "2.0.0", counter=2))


def one(rollout: Rollout, status: str, **fields: Any) -> DeviceUpdate:
    """Return an update in a state, of a device of its own that ran 1.0.0."""
    now = clock.now()
    if status in ("claimed", "verified"):
        fields["claimed_at"] = now
    if status in ("verified", "failed"):
        fields["finished_at"] = now
    device = device_of(rollout.organization)
    return updating(device, rollout, status=status, **{"from_version": "1.0.0", **fields})


def halt(rollout: Rollout, **fields: Any) -> Rollout:
    given = {"reason": "it smells", "actor": None, "now": clock.now(), **fields}
    return rollout_halt(rollout=rollout, **given)


def status_of(row: Any) -> str:
    row.refresh_from_db()
    return str(row.status)


def test_of_very_many_a_halt_offers_nothing_and_the_sweep_takes_back_the_rest(
    rollout: Rollout, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(limits, "HALT_CHUNK", 1)
    rows = [one(rollout, "scheduled") for _ in range(2)]
    rows.append(one(rollout, "offered", offered_at=clock.now()))

    halt(rollout)

    assert [status_of(row) for row in rows] == ["scheduled", "scheduled", "cancelled"]
    for row in rows:
        asked = api_as(row.device).get(f"/api/v1/devices/{row.device.device_id}/update")
        assert asked.status_code == 204
    rollouts_advance(now=clock.now())
    rollouts_advance(now=clock.now())
    assert {status_of(row) for row in rows} == {"cancelled"}
    assert not RolloutTarget.objects.filter(update__isnull=False).exists()


def test_a_halt_takes_back_what_no_device_has_begun_and_leaves_the_rest(
    rollout: Rollout, admin: Principal
):
    waiting = [one(rollout, "scheduled"), one(rollout, "offered")]
    begun = [one(rollout, status) for status in ("downloading", "installing", "claimed")]

    halt(rollout, actor=admin, rule={"failure": "all"})

    assert status_of(rollout) == "halted"
    assert (rollout.reason, rollout.halted_by_rule) == ("it smells", {"failure": "all"})
    assert [status_of(update) for update in waiting] == ["cancelled", "cancelled"]
    assert [status_of(update) for update in begun] == ["downloading", "installing", "claimed"]
    free = RolloutTarget.objects.filter(rollout=rollout, update=None)
    assert {target.device_id for target in free} == {update.device_id for update in waiting}
    versions = Device.objects.filter(pk__in=[update.device_id for update in waiting])
    assert {device.target_version for device in versions} == {"1.0.0"}
    event = RolloutEvent.objects.get(rollout=rollout, kind="halt")
    assert event.details["cancelled"] == 2
    entry = AuditEntry.objects.get(action="rollout.halt")
    assert (entry.actor, entry.after["reason"]) == (admin.label, "it smells")


def test_after_a_halt_nothing_is_offered_and_a_late_start_is_refused(rollout: Rollout):
    update = one(rollout, "offered")
    client = api_as(update.device)
    halt(rollout)

    assert client.get(f"/api/v1/devices/{update.device.device_id}/update").status_code == 204
    assert said(client, update, "downloading").status_code == 409


def test_a_rollout_is_halted_once(rollout: Rollout):
    halt(rollout)

    with pytest.raises(RolloutConflict, match="is halted"):
        halt(rollout)
    assert AuditEntry.objects.filter(action="rollout.halt").count() == 1


def test_what_made_it_halt_does_not_halt_it_again_once_it_is_resumed(rollout: Rollout):
    for _ in range(5):
        one(rollout, "failed", failure_class="install")
    verdict = rollout_judge(rollout=rollout, now=clock.now())
    assert verdict is not None
    assert verdict.reason == "5 of 5 updates that ended failed: the limit is 50 %."
    halt(rollout, reason=verdict.reason, rule=verdict.rule)

    Rollout.objects.filter(pk=rollout.pk).update(status="running")
    rollout.refresh_from_db()

    assert rollout_judge(rollout=rollout, now=clock.now()) is None


def test_the_way_back_reaches_whoever_was_updated_and_ends(rollout: Rollout, admin: Principal):
    done = [one(rollout, "verified"), one(rollout, "claimed")]
    untouched = one(rollout, "scheduled")
    rollout_rollback(rollout=rollout, reason="back", actor=admin, now=clock.now())

    assert status_of(rollout) == "halted"
    assert status_of(untouched) == "cancelled"
    back = DeviceUpdate.objects.filter(kind="rollback").order_by("pk")
    assert {update.device_id for update in back} == {update.device_id for update in done}
    assert {(update.from_version, update.to_version) for update in back} == {("2.0.0", "1.0.0")}
    assert {update.device.target_version for update in back} == {"1.0.0"}
    assert status_of(done[1]) == "rolled_back"
    offer = api_as(back[0].device).get(f"/api/v1/devices/{back[0].device.device_id}/update").json()
    assert (offer["kind"], offer["version"]) == ("rollback", "1.0.0")

    rollbacks_advance(now=clock.now())
    assert status_of(rollout) == "halted"
    back.filter(status="scheduled").update(status="cancelled", finished_at=clock.now())
    back.filter(status="offered").update(status="cancelled", finished_at=clock.now())
    rollbacks_advance(now=clock.now())
    assert status_of(rollout) == "rolled_back"
    assert rollout.finished_at is not None
    with pytest.raises(RolloutConflict):
        rollout_rollback(rollout=rollout, reason="again", actor=admin, now=clock.now())


def test_what_was_in_flight_goes_back_once_it_has_claimed(rollout: Rollout):
    update = one(rollout, "installing")
    rollout_rollback(rollout=rollout, reason="back", actor=None, now=clock.now())
    assert rollbacks_advance(now=clock.now()) == 0

    said(api_as(update.device), update, "claimed")

    assert rollbacks_advance(now=clock.now()) == 1
    assert DeviceUpdate.objects.get(device=update.device, kind="rollback").status == "scheduled"


def test_a_device_that_failed_and_still_runs_the_release_goes_back(rollout: Rollout):
    ill, fine = one(rollout, "failed"), one(rollout, "failed")
    heard(ill.device, at=clock.now(), version="2.0.0", health="degraded")
    heard(fine.device, at=clock.now(), version="1.0.0")

    rollout_rollback(rollout=rollout, reason="back", actor=None, now=clock.now())

    assert DeviceUpdate.objects.get(kind="rollback").device_id == ill.device_id


def test_devices_without_a_way_back_are_counted_and_named(rollout: Rollout):
    stuck = one(rollout, "verified", from_version="0.1.0")
    rollout_rollback(rollout=rollout, reason="back", actor=None, now=clock.now())
    rollbacks_advance(now=clock.now())

    assert status_of(rollout) == "rolled_back"
    event = RolloutEvent.objects.get(kind="rolled_back")
    assert event.details == {"without": 1, "named": [stuck.device.device_id]}


def test_a_plan_that_says_so_goes_back_by_itself_when_it_halts(rollout: Rollout):
    update = one(rollout, "verified")
    rollout.on_halt = "rollback"
    rollout.save(update_fields=["on_halt"])

    halt(rollout)

    assert DeviceUpdate.objects.get(kind="rollback").device_id == update.device_id


def test_a_completed_rollout_can_still_be_brought_back(rollout: Rollout):
    update = one(rollout, "verified")
    Rollout.objects.filter(pk=rollout.pk).update(status="completed", finished_at=clock.now())

    rollout_rollback(rollout=rollout, reason="back", actor=None, now=clock.now())

    assert DeviceUpdate.objects.get(kind="rollback").device_id == update.device_id
