"""Duplicates, late ones, several boots: the state is that of the newest, the history holds all."""

import random
from datetime import UTC, datetime, timedelta

import pytest

from common import clock
from common.db import execute
from devices.models import Device, DeviceEvent, DeviceState, DeviceToken, Heartbeat
from devices.tests.factories import token_of

SECOND = timedelta(seconds=1)


@pytest.fixture
def send(gateway, device):
    secret = token_of(device)

    def post(**body):
        url = f"/api/v1/devices/{device.device_id}/heartbeat"
        answer = gateway.post(url, body, {"X-Device-Token": secret})
        assert answer.status == 200, answer.body
        return answer.json()

    return post


@pytest.fixture
def start(device):
    return clock.now() - timedelta(minutes=30)


def beat(start, boot, sequence, second, **fields):
    """A heartbeat whose processor load tells it from every other one."""
    return {
        "boot_id": boot,
        "sequence": sequence,
        "ts": (start + second * SECOND).isoformat(),
        "cpu_percent": second,
        **fields,
    }


def state():
    return DeviceState.objects.get()


def test_a_duplicate_is_acknowledged_and_stored_once(send, start):
    for _ in range(3):
        assert send(**beat(start, "a", 1, 1))["ack"] is True

    assert Heartbeat.objects.count() == 1


def test_a_late_heartbeat_goes_into_the_history_and_not_into_the_state(send, start):
    send(**beat(start, "a", 2, 20))
    send(**beat(start, "a", 1, 10))

    assert Heartbeat.objects.count() == 2
    assert (state().sequence, state().cpu_percent) == (2, 20)


def test_shuffled_heartbeats_of_two_boots_end_in_the_newest(send, start):
    beats = [beat(start, "a", n, n) for n in range(1, 16)]
    beats += [beat(start, "b", n, 100 + n) for n in range(1, 16)]
    shuffled = beats * 2
    random.Random(7).shuffle(shuffled)  # noqa: S311 - a shuffle that can be repeated

    for one in shuffled:
        send(**one)

    assert Heartbeat.objects.count() == len(beats)
    assert (state().boot_id, state().sequence, state().cpu_percent) == ("b", 15, 115)


def test_a_boot_that_is_over_never_becomes_the_state_again(send, start):
    send(**beat(start, "a", 1, 1))
    send(**beat(start, "b", 1, 50))
    send(**beat(start, "a", 99, 99))

    assert (state().boot_id, state().past_boots) == ("b", ["a"])


def test_without_a_count_the_devices_time_decides(send, start):
    send(ts=(start + 20 * SECOND).isoformat(), cpu_percent=2)
    send(ts=(start + 10 * SECOND).isoformat(), cpu_percent=1)

    assert state().cpu_percent == 2


def test_last_seen_is_the_receipt_and_never_goes_back(send, start):
    send(**beat(start, "a", 2, 20))
    seen = state().last_seen
    send(**beat(start, "a", 1, 10))

    assert state().last_seen >= seen
    assert seen > start + timedelta(minutes=29)


@pytest.mark.parametrize("days", [-400, -2, 2, 400])
def test_a_clock_that_is_days_off_is_recorded_and_not_believed(send, days):
    send(ts=(clock.now() + timedelta(days=days)).isoformat())

    stored = Heartbeat.objects.get()
    assert abs(stored.at - stored.received_at) < SECOND
    assert round(state().skew_ms / 86_400_000) == days


def test_a_resend_after_midnight_is_still_a_duplicate(send):
    midnight = clock.now().replace(hour=0, minute=0, second=0, microsecond=0)
    one = {"ts": (midnight - SECOND).isoformat(), "boot_id": "a", "sequence": 5}

    send(**one)
    send(**one)

    assert Heartbeat.objects.get().at == midnight - SECOND


def test_coming_back_is_told_in_the_history(send, start):
    DeviceState.objects.update(health="offline", last_seen=start)

    send()

    assert state().health == "healthy"
    assert DeviceEvent.objects.get(kind="health").message == "Back online: healthy"


def test_an_unchanged_health_is_not_told_again(send):
    send(health="degraded")
    send(health="degraded")

    assert DeviceEvent.objects.filter(kind="health").count() == 1


@pytest.mark.parametrize(("hours", "expected"), [(None, "failed"), (1, "failed"), (-1, "healthy")])
def test_an_override_holds_until_it_ends(send, device, hours, expected):
    device.status_override = "failed"
    device.status_override_until = clock.now() + timedelta(hours=hours) if hours else None
    device.save()

    send(health="healthy")

    assert state().health == expected


def test_a_missing_partition_is_made_and_nothing_is_lost(send, device):
    today = datetime.now(UTC).strftime("%Y%m%d")
    execute(f"DROP TABLE devices_heartbeat_{today}")

    send(cpu_percent=5)

    assert Heartbeat.objects.get().cpu_percent == 5


def test_a_pending_device_is_seen_and_leaves_no_history(send, device):
    Device.objects.update(lifecycle="pending")

    send()

    assert state().last_seen is not None
    assert not Heartbeat.objects.exists()


def test_the_first_use_of_a_successor_ends_the_old_token(gateway, device):
    old, new = token_of(device), token_of(device, confirmed_at=None)
    url = f"/api/v1/devices/{device.device_id}/heartbeat"

    codes = [
        gateway.post(url, {"cpu_percent": n}, {"X-Device-Token": secret}).status
        for n, secret in enumerate([old, new, new, old])
    ]

    assert codes == [200, 200, 200, 401]
    assert DeviceToken.objects.filter(revoked_at=None).count() == 1
