"""Which commands a claim hands out, ends or leaves, and what heartbeats say of them."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from commands.models import Command
from commands.tests.factories import CommandFactory
from common import clock
from devices.models import Device, DeviceState
from gateway.tests.door import Door

Claim = Callable[[], list[str]]


@pytest.fixture
def claim(door: Door, device: Device, token: str) -> Claim:
    """Claim all there is; return the types."""

    def post() -> list[str]:
        url = f"/api/v1/devices/{device.device_id}/commands/claim?max=10"
        answer = door.post(url, None, {"X-Device-Token": token})
        assert answer.status == 200
        return [command["type"] for command in answer.json()["commands"]]

    return post


@pytest.fixture
def pending(beat: Any) -> Callable[[], int]:
    """Ask a heartbeat how many commands wait."""
    return lambda: int(beat().json()["commands_pending"])


def reported(device: Device, **values: Any) -> None:
    """Let the device have said this in an earlier heartbeat."""
    DeviceState.objects.filter(device=device).update(**values)


def test_what_is_not_due_or_held_stays(claim, pending, device):
    soon = clock.now() + timedelta(minutes=1)
    CommandFactory(device=device, not_before=soon)
    CommandFactory(device=device, held_reason="Offline for 2 days.")
    CommandFactory(device=device, protocol="mqtt")

    assert (pending(), claim()) == (0, [])

    CommandFactory(device=device, kind="ping", not_before=clock.now() - timedelta(seconds=1))

    assert (pending(), claim()) == (1, ["ping"])


def test_a_handed_out_command_says_that_the_gateway_moved_it(claim, device):
    command = CommandFactory(device=device)

    claim()

    command.refresh_from_db()
    assert (command.status, command.moved_by, command.attempt) == ("delivered", "gateway", 1)
    events = list(command.events.order_by("id").values_list("source", "to_status", "attempt"))
    assert events[-1] == ("gateway", "delivered", 1)
    assert command.attempts.get().number == 1


def test_another_attempt_begins_without_what_the_last_one_left(claim, device):
    command = CommandFactory(
        device=device,
        attempt=1,
        failure_class="network",
        error_code="unreachable",
        error="No route.",
        output="half",
        result={"a": 1},
    )

    claim()

    command.refresh_from_db()
    assert command.attempt == 2
    assert (command.failure_class, command.error_code, command.error) == ("", "", "")
    assert (command.output, command.result) == ("", None)


def test_one_disruptive_command_at_a_time_and_the_others_beside_it(claim, pending, device):
    for sequence, kind in enumerate(["reboot", "ping", "restart"]):
        disruptive = kind != "ping"
        CommandFactory(device=device, kind=kind, sequence=sequence, disruptive=disruptive)

    assert claim() == ["reboot", "ping"]
    assert (pending(), claim()) == (0, [])

    Command.objects.filter(kind="reboot").update(status="succeeded", finished_at=clock.now())

    assert (pending(), claim()) == (1, ["restart"])


def test_a_disruptive_command_that_is_not_due_lets_the_next_one_go(claim, device):
    later = clock.now() + timedelta(minutes=1)
    CommandFactory(device=device, sequence=1, disruptive=True, not_before=later)
    CommandFactory(device=device, sequence=2, disruptive=True, kind="restart")

    assert claim() == ["restart"]


@pytest.mark.parametrize(
    ("expected", "reason"),
    [
        ({"expect_version": "2.0"}, "Expected version 2.0, the device has 1.0."),
        ({"expect_state": "failed"}, "Expected state failed, the device is healthy."),
    ],
)
def test_a_stale_command_ends_with_the_reason(claim, device, expected, reason):
    reported(device, version="1.0", health="healthy")
    command = CommandFactory(device=device, **expected)
    CommandFactory(device=device, kind="ping", sequence=1)

    assert claim() == ["ping"]

    command.refresh_from_db()
    assert (command.status, command.moved_by) == ("cancelled", "gateway")
    assert (command.error_code, command.error) == ("stale", reason)
    assert command.finished_at is not None


def test_a_command_that_may_wait_is_handed_out_once_its_expectation_holds(
    claim, pending, device, beat
):
    reported(device, version="1.0", health="healthy")
    CommandFactory(device=device, expect_version="2.0", on_mismatch="wait")

    assert (pending(), claim()) == (0, [])

    assert beat(version="2.0").json()["commands_pending"] == 1
    assert claim() == ["reboot"]


def test_a_device_that_never_said_its_version_meets_no_expectation(claim, device):
    command = CommandFactory(device=device, expect_version="2.0")

    assert claim() == []

    command.refresh_from_db()
    assert command.error == "Expected version 2.0, the device has none."


def test_a_disruptive_command_that_is_stale_does_not_hold_up_the_next(claim, device):
    reported(device, version="1.0")
    CommandFactory(device=device, disruptive=True, expect_version="2.0", sequence=1)
    CommandFactory(device=device, disruptive=True, kind="restart", sequence=2)

    assert claim() == ["restart"]
