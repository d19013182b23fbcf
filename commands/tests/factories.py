"""Commands for tests."""

from datetime import UTC, datetime, timedelta

import factory

from commands.models import Command
from devices.tests.factories import DeviceFactory


class CommandFactory(factory.django.DjangoModelFactory):
    device = factory.SubFactory(DeviceFactory)
    organization = factory.SelfAttribute("device.organization")
    kind = "reboot"
    created_at = factory.LazyFunction(lambda: datetime.now(UTC))
    expires_at = factory.LazyAttribute(lambda command: command.created_at + timedelta(hours=1))

    class Meta:
        model = Command
