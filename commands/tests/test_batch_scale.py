"""Many devices: a handful of statements per chunk, steps that are cut off, sweeps at once."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import DatabaseError, connection
from django.test.utils import CaptureQueriesContext

from accounts.models import Organization
from accounts.policy import Role
from accounts.principals import Principal
from accounts.tests.factories import OrganizationFactory, member
from commands.models import BatchTarget, Command, CommandBatch, CommandLane
from commands.services import BatchOrder, Plan, batch_create, batch_waves, batches_advance
from commands.services.batch_waves import batch_step
from common import clock, limits
from devices.models import Device


def fleet(organization: Organization, count: int) -> None:
    Device.objects.bulk_create(
        [
            Device(organization=organization, device_id=f"d-{number:05}", role="many")
            for number in range(count)
        ]
    )


def many(principal: Principal, **plan: Any) -> CommandBatch:
    return batch_create(
        name="many",
        order=BatchOrder("ping", {}),
        selection={"filter": {"role": "many"}},
        plan=Plan(**plan),
        principal=principal,
        now=clock.now(),
    )


def test_a_thousand_commands_cost_as_many_statements_as_ten(
    organization: Organization, operator: Principal
):
    def statements(count: int) -> int:
        Device.objects.all().delete()
        fleet(organization, count)
        batch = many(operator)
        batch_step(pk=batch.pk, now=clock.now())  # begins
        batch_step(pk=batch.pk, now=clock.now())  # opens the wave
        with CaptureQueriesContext(connection) as captured:
            batch_step(pk=batch.pk, now=clock.now())
        assert Command.objects.filter(batch=batch).count() == count
        return len(captured)

    assert statements(limits.BATCH_CHUNK) <= statements(10) + 3


def test_a_large_batch_goes_out_in_chunks_over_several_steps(
    organization: Organization, operator: Principal, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(limits, "BATCH_CHUNK", 10)
    fleet(organization, 25)
    batch = many(operator)

    batches_advance(now=clock.now())

    assert Command.objects.filter(batch=batch).count() == 25
    assert set(CommandLane.objects.values_list("sequence", flat=True)) == {1}


def test_a_step_that_is_cut_off_is_taken_again_and_doubles_nothing(
    organization: Organization, operator: Principal, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(limits, "BATCH_CHUNK", 10)
    fleet(organization, 25)
    batch = many(operator)
    create = batch_waves.commands_create_bulk
    calls = []

    def dying(**given: Any) -> int:
        made = create(**given)
        calls.append(made)
        if len(calls) == 2:
            raise DatabaseError("the server went away")
        return made

    monkeypatch.setattr(batch_waves, "commands_create_bulk", dying)
    batches_advance(now=clock.now())
    assert Command.objects.filter(batch=batch).count() == 10
    batches_advance(now=clock.now())

    assert Command.objects.filter(batch=batch).count() == 25
    assert not BatchTarget.objects.filter(batch=batch, command__isnull=True).exists()


def test_cancelling_goes_on_in_the_sweep_when_there_is_much_to_take_back(
    organization: Organization, operator: Principal, monkeypatch: pytest.MonkeyPatch
):
    fleet(organization, 25)
    batch = many(operator)
    batches_advance(now=clock.now())
    monkeypatch.setattr(limits, "BATCH_CHUNK", 2)
    batch.refresh_from_db()

    from_act = batch_waves.wind_down
    CommandBatch.objects.filter(pk=batch.pk).update(
        status="cancelled", finished_at=clock.now(), cancelling="waiting"
    )
    batch.refresh_from_db()
    assert from_act(batch, now=clock.now()) == 10
    for _ in range(2):
        batches_advance(now=clock.now())

    assert set(Command.objects.values_list("status", flat=True)) == {"cancelled"}
    batch.refresh_from_db()
    assert batch.cancelling == ""


@pytest.mark.django_db(transaction=True)
def test_sweeps_at_once_make_each_command_once(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(limits, "BATCH_CHUNK", 5)
    organization = OrganizationFactory()
    principal = member(organization, Role.OPERATOR)
    fleet(organization, 60)
    batch = many(principal, waves=[{"size": 20}])

    def sweep(_turn: int) -> None:
        try:
            batches_advance(now=clock.now())
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(sweep, range(12)))
    batches_advance(now=clock.now())

    assert Command.objects.filter(batch=batch).count() == 60
    assert set(CommandLane.objects.values_list("sequence", flat=True)) == {1}
    assert BatchTarget.objects.filter(batch=batch, command__isnull=False).count() == 60
