"""What ends, or is put back, because nobody did it in time."""

from datetime import timedelta

import pytest

from audit.models import AuditEntry
from commands import services, tasks
from commands.models import CommandAttempt, CommandEvent
from commands.tests.factories import CommandFactory
from common import clock, limits
from devices.models import Device, DeviceState

SECOND = timedelta(seconds=1)


@pytest.fixture
def now(db):
    return clock.now()


@pytest.fixture
def handed_out(device, now):
    return CommandFactory(
        device=device, status="delivered", attempt=1, lease_expires_at=now + 60 * SECOND
    )


def running(device, now, **fields):
    """Return a command that began at `now` and has to be done in 100 s."""
    return CommandFactory(
        **{
            "device": device,
            "status": "running",
            "attempt": 1,
            "started_at": now,
            "run_timeout_s": 100,
            "run_deadline": now + 100 * SECOND,
            "created_at": now,
            **fields,
        }
    )


def test_a_command_expires_at_the_moment_it_says(device, now):
    command = CommandFactory(device=device, created_at=now, expires_at=now + 60 * SECOND)

    assert services.commands_expire(now=now + 59 * SECOND)["expired"] == 0
    assert services.commands_expire(now=now + 60 * SECOND)["expired"] == 1
    assert services.commands_expire(now=now + 61 * SECOND)["expired"] == 0

    command.refresh_from_db()
    assert command.status == "expired"
    entry = AuditEntry.objects.get(action="command.expired")
    assert (entry.actor_type, entry.target_id) == ("system", str(command.pk))
    assert CommandEvent.objects.filter(command=command).last().source == "sweep"


def test_what_was_handed_out_may_still_begin_while_its_lease_lasts(device, now):
    command = CommandFactory(
        device=device, status="delivered", attempt=1, created_at=now, expires_at=now + SECOND,
        lease_expires_at=now + 60 * SECOND,
    )  # fmt: skip

    assert services.commands_expire(now=now + 59 * SECOND)["expired"] == 0
    assert services.leases_recover(now=now + 60 * SECOND)["requeued"] == 0
    assert services.commands_expire(now=now + 60 * SECOND)["expired"] == 1
    command.refresh_from_db()
    assert command.status == "expired"


def test_a_lost_lease_puts_the_command_back_without_using_a_retry(device, now):
    command = CommandFactory(device=device, retries={"failed": 1})
    command = deliver(command, now)

    assert services.leases_recover(now=now + 61 * SECOND)["requeued"] == 1

    command.refresh_from_db()
    assert (command.status, command.attempt, command.not_before) == ("queued", 1, None)
    attempt = CommandAttempt.objects.get(command=command)
    assert (attempt.outcome, attempt.failure_class) == ("lost", "")


def deliver(command, now):
    type(command).objects.filter(pk=command.pk).update(
        status="delivered",
        attempt=command.attempt + 1,
        lease_expires_at=now + limits.COMMAND_LEASE,
        moved_by="gateway",
    )
    command.refresh_from_db()
    return command


def test_a_command_handed_out_too_often_times_out(device, now):
    command = CommandFactory(
        device=device,
        status="delivered",
        attempt=limits.COMMAND_ATTEMPTS_MAX,
        lease_expires_at=now - SECOND,
    )

    assert services.leases_recover(now=now) == {"cancelled": 0, "timed_out": 1, "requeued": 0}

    command.refresh_from_db()
    assert (command.status, command.error_code) == ("timed_out", "lease_lost")


def test_what_is_to_be_stopped_is_not_handed_out_again(device, now):
    command = CommandFactory(
        device=device, status="delivered", attempt=1, lease_expires_at=now - SECOND,
        cancel_requested_at=now, cancel_deadline=now + 60 * SECOND,
    )  # fmt: skip

    assert services.leases_recover(now=now)["cancelled"] == 1

    command.refresh_from_db()
    assert (command.status, command.error_code) == ("cancelled", "lease_lost")


def test_what_waits_for_a_retired_device_is_cancelled(device, now):
    command = CommandFactory(device=device)
    Device.objects.filter(pk=device.pk).update(lifecycle="retired", retired_at=now)

    assert services.commands_expire(now=now)["cancelled"] == 1

    command.refresh_from_db()
    assert (command.status, command.error_code) == ("cancelled", "retired")


def test_a_command_that_runs_too_long_times_out(device, now):
    command = running(device, now)

    assert services.runs_time_out(now=now + 99 * SECOND) == {"timed_out": 0, "requeued": 0}
    assert services.runs_time_out(now=now + 100 * SECOND) == {"timed_out": 1, "requeued": 0}
    assert services.runs_time_out(now=now + 101 * SECOND) == {"timed_out": 0, "requeued": 0}

    command.refresh_from_db()
    assert (command.status, command.failure_class, command.error_code) == (
        "timed_out",
        "timeout",
        "run_timeout",
    )


def test_a_step_that_takes_too_long_ends_the_run(device, now):
    command = running(device, now, step_deadline=now + 5 * SECOND)

    services.runs_time_out(now=now + 5 * SECOND)

    command.refresh_from_db()
    assert (command.status, command.error_code) == ("timed_out", "step_timeout")


def test_a_timeout_is_tried_again_as_often_as_the_policy_says(device, now):
    command = CommandFactory(
        device=device, retries={"timeout": 2, "failed": 9}, retry_backoff_s=10, run_timeout_s=1,
        created_at=now, expires_at=now + timedelta(days=1),
    )  # fmt: skip
    pauses = []
    for _ in range(3):
        deliver(command, now)
        type(command).objects.filter(pk=command.pk).update(
            status="running", started_at=now, run_deadline=now
        )
        services.runs_time_out(now=now)
        command.refresh_from_db()
        if command.status == "queued":
            pauses.append((command.not_before - now).total_seconds())

    assert (command.status, command.attempt, len(pauses)) == ("timed_out", 3, 2)
    assert 5 <= pauses[0] <= 10
    assert 10 <= pauses[1] <= 20
    outcomes = CommandAttempt.objects.filter(command=command).values_list("outcome", flat=True)
    assert list(outcomes) == ["timed_out"] * 3


def test_there_is_no_further_attempt_past_the_expiry(device, now):
    command = running(
        device, now, retries={"timeout": 1}, retry_backoff_s=60, expires_at=now + 110 * SECOND
    )

    services.runs_time_out(now=now + 100 * SECOND)

    command.refresh_from_db()
    assert command.status == "timed_out"


def test_a_device_that_does_not_stop_in_time_is_not_waited_for(device, now):
    command = running(device, now, cancel_requested_at=now, cancel_deadline=now + 60 * SECOND)

    assert services.cancels_force(now=now + 59 * SECOND) == {"cancelled": 0}
    assert services.cancels_force(now=now + 60 * SECOND) == {"cancelled": 1}

    command.refresh_from_db()
    assert (command.status, command.error_code) == ("cancelled", "cancel_forced")


def away(device, now, *, hours):
    DeviceState.objects.filter(device=device).update(last_seen=now - timedelta(hours=hours))


@pytest.mark.parametrize(
    ("rule", "hours", "status", "held"),
    [
        ("run", 48, "queued", False),
        ("drop", 48, "cancelled", False),
        ("drop", 23, "queued", False),
        ("ask", 48, "queued", True),
        ("ask", 23, "queued", False),
    ],
)
def test_a_device_away_for_long_finds_what_the_rule_says(device, now, rule, hours, status, held):
    command = CommandFactory(
        device=device, reconnect=rule, created_at=now - timedelta(hours=30),
        expires_at=now + timedelta(days=9),
    )  # fmt: skip
    away(device, now, hours=hours)

    services.reconnects_judge(now=now)
    services.reconnects_judge(now=now)

    command.refresh_from_db()
    assert (command.status, bool(command.held_reason)) == (status, held)
    assert command.error_code == ("reconnect_dropped" if status == "cancelled" else "")


def test_a_new_command_for_a_device_long_away_is_kept(device, now):
    command = CommandFactory(device=device, reconnect="drop", created_at=now)
    away(device, now, hours=48)

    assert services.reconnects_judge(now=now) == {"dropped": 0, "held": 0}
    command.refresh_from_db()
    assert command.status == "queued"


def test_the_sweeps_are_tasks_that_may_run_twice(handed_out):
    for _ in range(2):
        tasks.commands_expire()
        tasks.leases_recover()
        tasks.runs_time_out()
        tasks.cancels_force()
        tasks.reconnects_judge()

    handed_out.refresh_from_db()
    assert handed_out.status == "delivered"


@pytest.mark.parametrize("count", [1, 60])
def test_a_sweep_costs_the_same_whatever_it_finds(
    device, now, count, django_assert_max_num_queries
):
    for _ in range(count):
        running(device, now)

    with django_assert_max_num_queries(11):
        assert services.runs_time_out(now=now + 100 * SECOND)["timed_out"] == count
    assert AuditEntry.objects.filter(action="command.timed_out").count() == 1
