"""Several at the same moment: what the locks promise."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
from django.db import connection

from commands import services
from commands.errors import QueueFull, RequestIdUsed, TransitionRefused
from commands.models import ENDED, Command
from commands.tests.factories import CommandFactory
from common import clock, limits
from common.errors import DomainError
from common.ids import uuid7
from devices.tests.factories import DeviceFactory

pytestmark = pytest.mark.django_db(transaction=True)


def at_once(*acts: Callable[[], Any]) -> list[Any]:
    """Run acts in threads that begin together; return results, a refusal as its class."""
    gate = Barrier(len(acts))

    def run(act: Callable[[], Any]) -> Any:
        try:
            gate.wait(10)
            return act()
        except DomainError as refusal:
            return type(refusal)
        finally:
            connection.close()

    with ThreadPoolExecutor(len(acts)) as pool:
        return list(pool.map(run, acts))


def queueing(device, actor, **fields):
    return lambda: services.command_queue(
        device=device, kind="ping", payload={}, actor=actor, now=clock.now(), **fields
    )


def test_the_last_place_in_the_queue_is_given_away_once(device, operator):
    CommandFactory.create_batch(limits.COMMANDS_PER_DEVICE - 1, device=device)

    results = at_once(*[queueing(device, operator)] * 4)

    assert results.count(QueueFull) == 3
    assert Command.objects.open().count() == limits.COMMANDS_PER_DEVICE


def test_no_number_of_a_line_is_given_twice_or_left_out(device, operator):
    at_once(*[queueing(device, operator)] * 6)

    numbers = Command.objects.order_by("sequence").values_list("sequence", flat=True)
    assert list(numbers) == [1, 2, 3, 4, 5, 6]


def test_one_request_id_makes_one_command(device, operator):
    name = uuid7()

    results = at_once(*[queueing(device, operator, request_id=name)] * 4)

    assert {command.pk for command in results} == {name}
    assert Command.objects.count() == 1


def test_one_request_id_for_two_devices_is_one_command_and_one_refusal(device, operator):
    other, name = DeviceFactory(organization=device.organization), uuid7()

    results = at_once(*[queueing(one, operator, request_id=name) for one in (device, other)])

    assert results.count(RequestIdUsed) == 1
    assert Command.objects.count() == 1


@pytest.mark.parametrize("_round", range(5))
def test_a_report_a_cancel_and_the_sweeps_end_a_command_once(device, operator, _round):
    now = clock.now()
    command = CommandFactory(
        device=device, status="running", attempt=1, run_deadline=now, cancel_deadline=now,
        cancel_requested_at=now,
    )  # fmt: skip
    report = services.Report(status="succeeded", attempt=1)
    act = {"command": command, "actor": operator, "now": now}

    results = at_once(
        lambda: services.command_report(report=report, **act),
        lambda: services.command_cancel(force=True, **act),
        lambda: services.cancels_force(now=now),
        lambda: services.runs_time_out(now=now),
    )

    command.refresh_from_db()
    assert command.events.filter(to_status__in=ENDED).count() == 1
    assert (command.status == "succeeded") is (results[0] is not TransitionRefused)


def test_two_sweeps_at_once_do_the_work_once(device):
    now = clock.now()
    CommandFactory.create_batch(
        30, device=device, status="delivered", attempt=1, lease_expires_at=now
    )

    results = at_once(*[lambda: services.leases_recover(now=now)] * 3)

    assert sum(result.get("requeued", 0) for result in results) == 30
    assert Command.objects.filter(status="queued").count() == 30
