"""Commands for tests."""

from datetime import UTC, datetime, timedelta
from typing import Any

import factory

from accounts.tests.factories import OrganizationFactory
from commands.models import FINISHED, BatchTarget, Command, CommandBatch
from commands.services.queueing import lanes_take
from common import clock, limits
from devices.tests.factories import DeviceFactory


class CommandFactory(factory.django.DjangoModelFactory):
    device = factory.SubFactory(DeviceFactory)
    organization = factory.SelfAttribute("device.organization")
    kind = "reboot"
    status = "queued"
    sequence = factory.LazyAttribute(
        lambda command: lanes_take([command.device])[command.device.pk]
    )
    created_at = factory.LazyFunction(lambda: datetime.now(UTC))
    expires_at = factory.LazyAttribute(lambda command: command.created_at + timedelta(hours=1))
    run_deadline = factory.LazyAttribute(
        lambda command: (
            command.created_at + timedelta(hours=2) if command.status == "running" else None
        )
    )

    class Meta:
        model = Command


def deliver(command: Command, **fields: Any) -> Command:
    """Hand the command out as the gateway does."""
    Command.objects.filter(pk=command.pk).update(
        status="delivered",
        moved_by="gateway",
        attempt=command.attempt + 1,
        delivered_at=clock.now(),
        lease_expires_at=clock.now() + limits.COMMAND_LEASE,
        **fields,
    )
    command.refresh_from_db()
    return command


class BatchFactory(factory.django.DjangoModelFactory):
    organization = factory.SubFactory(OrganizationFactory)
    name = factory.Sequence(lambda n: f"batch {n}")
    kind = "ping"
    status = "running"
    created_at = factory.LazyFunction(lambda: datetime.now(UTC))
    finished_at = factory.LazyAttribute(
        lambda batch: batch.created_at if batch.status in FINISHED else None
    )

    class Meta:
        model = CommandBatch


def batch_of(*commands: Command, **fields: Any) -> CommandBatch:
    """Return a batch whose one wave these commands are."""
    batch: CommandBatch = BatchFactory(
        organization=commands[0].organization, wave=0, wave_sizes=[len(commands)], **fields
    )
    for command in commands:
        Command.objects.filter(pk=command.pk).update(batch=batch)
        BatchTarget.objects.create(
            organization=batch.organization,
            batch=batch,
            device=command.device,
            wave=0,
            command=command,
        )
    return batch
