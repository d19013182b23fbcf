"""Devices for tests."""

from typing import Any

import factory

from accounts.models import Organization
from accounts.tests.factories import OrganizationFactory
from common import clock
from common.ids import secret_digest, secret_token
from devices.models import Device, DeviceGroup, DeviceState, DeviceToken, GroupMember


class DeviceFactory(factory.django.DjangoModelFactory):
    organization = factory.SubFactory(OrganizationFactory)
    device_id = factory.Sequence(lambda n: f"device-{n}")
    name = factory.Sequence(lambda n: f"Device {n}")
    role = "kiosk"

    class Meta:
        model = Device
        skip_postgeneration_save = True

    @factory.post_generation
    def state(self, create: bool, extracted: Any, **fields: Any) -> None:
        """Every device has its state row; `state__health="offline"` fills it."""
        DeviceState.objects.create(device=self, organization=self.organization, **fields)


def group_of(organization: Organization, *devices: Device, name: str = "a group") -> DeviceGroup:
    """Return a group with these devices in it."""
    group = DeviceGroup.objects.create(organization=organization, name=name)
    for device in devices:
        GroupMember.objects.create(organization=organization, group=group, device=device)
    return group


def token_of(device: Device, **fields: Any) -> str:
    """Give a device a token in use; return its secret."""
    secret = secret_token()
    fields.setdefault("confirmed_at", clock.now())
    DeviceToken.objects.create(
        organization=device.organization, device=device, sha256=secret_digest(secret), **fields
    )
    return secret
