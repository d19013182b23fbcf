"""Batches: waves, reasons to stop, schedule and window."""

from datetime import timedelta
from typing import Any

import pytest
from rest_framework.test import APIClient

from accounts.models import Organization
from commands.models import BatchTarget, Command, CommandBatch
from commands.tasks import batches_advance
from commands.tests.batch_calls import (
    PING,
    URL,
    actions,
    finish,
    fleet,
    hand_out,
    ids,
    later,
    made,
    read,
)
from common import clock
from devices.models import Device
from devices.tests.factories import DeviceFactory

# --- waves ---


def test_waves_are_sizes_and_percents_and_the_rest_is_the_last(
    operator_api: APIClient, organization: Organization
):
    fleet(organization, 21)
    waves = [{"size": 2}, {"percent": 25}]
    selection = {"filter": {"role": "kiosk"}}

    preview = operator_api.post(f"{URL}/preview", {"selection": selection, "waves": waves}).json()
    batch = operator_api.post(URL, {**PING, "selection": selection, "waves": waves}).json()

    assert preview["by_wave"] == [2, 6, 13] == batch["wave_sizes"]
    assert [one["total"] for one in batch["progress"]["by_wave"]] == [2, 6, 13]


def test_waves_nobody_is_left_for_fall_away(operator_api: APIClient, organization: Organization):
    batch = made(operator_api, fleet(organization, 3), waves=[{"size": 2}, {"percent": 100}])
    small = made(operator_api, fleet_of(organization), waves=[{"size": 5}, {"size": 5}])

    assert (batch["wave_sizes"], small["wave_sizes"]) == ([2, 1], [1])


def fleet_of(organization: Organization) -> list[Device]:
    return [DeviceFactory(organization=organization, device_id="alone")]


def test_the_order_is_the_same_for_a_batch_and_another_for_another(
    operator_api: APIClient, organization: Organization
):
    devices = fleet(organization, 30)

    first = made(operator_api, devices, waves=[{"size": 10}])
    second = made(operator_api, devices, waves=[{"size": 10}])

    def early(batch: dict[str, Any]) -> set[Any]:
        targets = BatchTarget.objects.filter(batch=batch["id"], wave=0)
        return set(targets.values_list("device_id", flat=True))

    assert len(early(first)) == 10
    assert early(first) != early(second)


def test_a_wave_waits_for_the_end_of_the_pause(operator_api: APIClient, organization: Organization):
    batch = made(operator_api, fleet(organization, 5), waves=[{"size": 2}], wave_pause_s=600)

    batches_advance()
    batches_advance()
    assert Command.objects.count() == 2
    seen = read(operator_api, batch)
    assert (seen["wave"], seen["status"]) == (0, "running")
    later(batch, next_wave_at=clock.now())
    batches_advance()

    assert Command.objects.count() == 5
    assert read(operator_api, batch)["wave"] == 1
    assert actions().count("batch.wave") == 2


@pytest.mark.parametrize(
    "fields",
    [
        {"waves": [{}]},
        {"waves": [{"size": 1, "percent": 5}]},
        {"waves": [{"percent": 101}]},
        {"waves": [{"size": 0}]},
        {"waves": [{"size": 1}] * 21},
        {"wave_pause_s": -1},
        {"abort_rules": [{"failure": "boredom", "threshold_percent": 5}]},
        {"abort_rules": [{"failure": "all", "threshold_percent": 0}]},
        {"window": {"start": "25:00", "duration_minutes": 5}},
        {"window": {"start": "22:00", "duration_minutes": 0}},
        {"window": {"start": "22:00", "duration_minutes": 5, "timezone": "Mars/Base"}},
        {"window": {"start": "22:00", "duration_minutes": 5, "timezone": "../etc/passwd"}},
        {"window": {"start": "22:00", "duration_minutes": 5, "timezone": "Europe"}},
        {"window": {"start": "22:00", "duration_minutes": 5, "days": [7]}},
        {"end_at": "2001-01-01T00:00:00Z"},
        {"end_behavior": "explode"},
        {"options": {"priority": 900}},
    ],
)
def test_a_plan_that_cannot_be_is_refused(
    operator_api: APIClient, organization: Organization, fields: dict[str, Any]
):
    body = {**PING, "selection": {"devices": ids(fleet(organization, 1))}, **fields}

    answer = operator_api.post(URL, body)

    assert answer.status_code in (400, 422), answer.json()
    assert not CommandBatch.objects.exists()


# --- abort rules ---


def rule(failure: str = "all", percent: int = 50, sample: int = 4) -> dict[str, Any]:
    return {"failure": failure, "threshold_percent": percent, "min_completed": sample}


def test_too_many_failures_abort_and_take_back_what_waits_but_not_what_runs(
    operator_api: APIClient, organization: Organization
):
    batch = made(operator_api, fleet(organization, 12), waves=[{"size": 6}], wave_pause_s=600,
                 abort_rules=[rule("failed", 90, 1), rule()])  # fmt: skip
    batches_advance()
    finish("failed", 2, error="no")
    finish("succeeded", 2)
    running = hand_out(Command.objects.open().first())
    Command.objects.filter(pk=running.pk).update(status="running", started_at=clock.now(),
                                                 run_deadline=clock.now())  # fmt: skip
    batches_advance()

    seen = read(operator_api, batch)
    assert seen["status"] == "aborted"
    assert seen["reason"] == "2 of 4 completed ended badly: the limit is 50 %."
    counts = seen["progress"]["by_status"]
    assert (counts["running"], counts["cancelled"], counts["skipped"]) == (1, 1, 6)
    cancelled = Command.objects.get(status="cancelled")
    assert cancelled.error_code == "batch_cancelled"
    assert actions()[-1] == "batch.abort"


def test_an_attempt_that_fails_after_the_abort_is_not_tried_again(
    operator_api: APIClient, organization: Organization
):
    batch = made(operator_api, fleet(organization, 2), abort_rules=[rule(sample=1)])
    batches_advance()
    finish("failed", 1)
    command = Command.objects.open().get()
    hand_out(command)
    batches_advance()
    assert read(operator_api, batch)["status"] == "aborted"

    Command.objects.filter(pk=command.pk).update(status="queued", lease_expires_at=None)
    batches_advance()

    command.refresh_from_db()
    assert (command.status, command.error_code) == ("cancelled", "batch_cancelled")
    assert CommandBatch.objects.get().cancelling == ""


@pytest.mark.parametrize(
    ("rules", "aborted"),
    [
        ([rule(sample=4)], False),
        ([rule(sample=3)], True),
        ([rule(percent=67, sample=1)], False),
        ([rule("rejected", 30, 1)], True),
        ([rule("timed_out", 1, 1)], False),
        ([rule("failed", 34, 1), rule("failed", 33, 1)], True),
    ],
)
def test_a_rule_holds_until_its_sample_and_its_threshold_are_reached(
    operator_api: APIClient,
    organization: Organization,
    rules: list[dict[str, Any]],
    aborted: bool,
):
    batch = made(operator_api, fleet(organization, 8), abort_rules=rules)
    batches_advance()
    finish("succeeded", 1)
    finish("failed", 1)
    finish("rejected", 1)
    finish("cancelled", 2)  # taking one back says nothing about the order

    batches_advance()

    assert (read(operator_api, batch)["status"] == "aborted") is aborted


# --- schedule and window ---


def test_a_batch_starts_at_its_time(operator_api: APIClient, organization: Organization):
    start = clock.now() + timedelta(hours=1)
    batch = made(operator_api, fleet(organization, 2), start_at=start.isoformat())
    batches_advance()
    assert not Command.objects.exists()

    later(batch, start_at=clock.now())
    batches_advance()

    assert Command.objects.count() == 2


def test_the_option_not_before_is_a_start_too(operator_api: APIClient, organization: Organization):
    start = clock.now() + timedelta(hours=1)
    made(operator_api, fleet(organization, 2), options={"not_before": start.isoformat()})

    batches_advance()

    assert not Command.objects.exists()


@pytest.mark.parametrize(
    ("behavior", "status", "commands"),
    [
        ("stop", "running", {"queued": 1, "delivered": 1, "skipped": 2}),
        ("cancel", "cancelled", {"cancelled": 1, "delivered": 1, "skipped": 2}),
        ("force_cancel", "cancelled", {"cancelled": 2, "skipped": 2}),
    ],
)
def test_the_end_of_the_schedule_does_what_was_asked(
    operator_api: APIClient,
    organization: Organization,
    behavior: str,
    status: str,
    commands: dict[str, int],
):
    end = clock.now() + timedelta(hours=1)
    batch = made(operator_api, fleet(organization, 4), waves=[{"size": 2}], wave_pause_s=900,
                 end_at=end.isoformat(), end_behavior=behavior)  # fmt: skip
    batches_advance()
    hand_out(Command.objects.first())
    later(batch, end_at=clock.now())

    batches_advance()
    batches_advance()

    seen = read(operator_api, batch)
    counts = {name: count for name, count in seen["progress"]["by_status"].items() if count}
    assert (seen["status"], counts) == (status, commands)
    assert seen["reason"] == "The end of the schedule came."


def test_what_a_stop_leaves_running_completes_the_batch(
    operator_api: APIClient, organization: Organization
):
    end = clock.now() + timedelta(hours=1)
    batch = made(operator_api, fleet(organization, 4), waves=[{"size": 2}], wave_pause_s=900,
                 end_at=end.isoformat())  # fmt: skip
    batches_advance()
    later(batch, end_at=clock.now())
    batches_advance()
    finish("succeeded", 2)
    batches_advance()

    assert read(operator_api, batch)["status"] == "completed"
    assert actions().count("batch.stop") == 1


def window(opens_in: timedelta, minutes: int = 60) -> dict[str, Any]:
    start = clock.now() + opens_in
    return {"start": f"{start:%H:%M}", "duration_minutes": minutes, "timezone": "UTC"}


def test_commands_are_made_inside_the_window_and_end_with_it(
    operator_api: APIClient, organization: Organization
):
    batch = made(operator_api, fleet(organization, 2), window=window(timedelta(minutes=-30)),
                 options={"expires_in_s": 86_400})  # fmt: skip

    batches_advance()

    assert Command.objects.count() == 2
    for command in Command.objects.all():
        assert command.expires_at <= clock.now() + timedelta(minutes=30)
    assert read(operator_api, batch)["status"] == "running"


def test_a_closed_window_sends_nothing_and_takes_back_what_was_not_begun(
    operator_api: APIClient, organization: Organization
):
    batch = made(operator_api, fleet(organization, 3), waves=[{"size": 2}],
                 window=window(timedelta(minutes=-30)))  # fmt: skip
    batches_advance()
    begun = hand_out(Command.objects.first())
    BatchTarget.objects.filter(wave=1).update(command=None)
    later(batch, window=window(timedelta(hours=3)), wave=0, next_wave_at=clock.now())
    extra = Command.objects.exclude(pk=begun.pk).filter(status="queued")
    count = extra.count()

    batches_advance()

    taken = Command.objects.filter(error_code="window_closed", status="cancelled")
    assert taken.count() == count
    begun.refresh_from_db()
    assert begun.status == "delivered"
    assert read(operator_api, batch)["status"] == "running"
