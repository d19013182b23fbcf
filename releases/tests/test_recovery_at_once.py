"""Several at the same moment: what the locks of recovery promise."""

import pytest

from commands.models import Command
from commands.tests.test_at_once import at_once
from common import clock, limits
from devices.models import DeviceRecovery, DriftReport
from devices.services.drift import drift_report
from devices.services.recovery import quarantines_end
from devices.tests.factories import DeviceFactory
from releases.services.drift_repair import drifts_repair
from releases.services.recovery import recoveries_settle, recovery_enter, recovery_failure_count

pytestmark = pytest.mark.django_db(transaction=True)


def test_two_sweeps_at_once_keep_the_budget(organization):
    organization.drift_auto_repair, organization.drift_repairs_per_hour = True, 3
    organization.save()
    now = clock.now()
    for device in DeviceFactory.create_batch(6, organization=organization):
        DriftReport.objects.create(
            device=device, organization=organization, first_at=now, last_at=now, count=1
        )

    at_once(*[lambda: drifts_repair(now=now)] * 4)

    assert Command.objects.filter(kind="drift_repair").count() == 3


def test_reports_at_once_leave_one_open(device):
    def telling(path: str):
        items = [{"path": path, "kind": "changed", "expected": "", "actual": ""}]
        return lambda: drift_report(device=device, release="1", items=items, now=clock.now())

    at_once(*[telling(f"/{number}") for number in range(4)])

    assert DriftReport.objects.get().resolved_at is None


def test_entering_at_once_tells_the_device_once(device, operator):
    def enter() -> bool:
        return recovery_enter(
            device=device, reason="", source="operator", actor=operator, now=clock.now()
        )

    results = at_once(enter, enter, enter, lambda: recoveries_settle(now=clock.now()))

    assert results[:3].count(True) == 1
    assert Command.objects.filter(kind="safe_mode").count() == 1


def test_no_failure_is_lost_and_a_device_is_put_aside_while_others_are_let_out(device):
    def fail() -> bool:
        return recovery_failure_count(device=device, reason="health", now=clock.now())

    counts = [fail] * limits.UPDATE_FAILURES_MAX
    at_once(*counts, lambda: quarantines_end(now=clock.now()))

    assert DeviceRecovery.objects.get().failures == limits.UPDATE_FAILURES_MAX
    device.refresh_from_db()
    assert (device.safe_mode, device.lifecycle) == (True, "quarantined")
