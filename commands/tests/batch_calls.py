"""Calling batches in tests, and doing what devices would."""

from typing import Any

from rest_framework.test import APIClient

from accounts.models import Organization
from audit.models import AuditEntry
from commands.models import Command, CommandBatch
from common import clock
from devices.models import Device
from devices.tests.factories import DeviceFactory

URL = "/api/v1/batches"
PING = {"name": "ping all", "type": "ping"}


def fleet(organization: Organization, count: int, **fields: Any) -> list[Device]:
    return [
        DeviceFactory(organization=organization, device_id=f"d-{number:03}", **fields)
        for number in range(count)
    ]


def ids(devices: list[Device]) -> list[str]:
    return [device.device_id for device in devices]


def made(api: APIClient, devices: list[Device], **fields: Any) -> dict[str, Any]:
    """Make a batch for these devices; return it."""
    answer = api.post(URL, {**PING, "selection": {"devices": ids(devices)}, **fields})
    assert answer.status_code == 201, answer.json()
    body: dict[str, Any] = answer.json()
    return body


def read(api: APIClient, batch: dict[str, Any]) -> dict[str, Any]:
    body: dict[str, Any] = api.get(f"{URL}/{batch['id']}").json()
    return body


def finish(status: str, count: int, **fields: Any) -> None:
    """End some open commands of batches as devices would."""
    keys = list(Command.objects.open().order_by("pk").values_list("pk", flat=True)[:count])
    now = clock.now()
    Command.objects.filter(pk__in=keys).update(status="delivered", attempt=1, lease_expires_at=now)
    Command.objects.filter(pk__in=keys).update(status=status, finished_at=now, **fields)


def actions() -> list[str]:
    rows = AuditEntry.objects.filter(action__startswith="batch.").order_by("seq")
    return [row.action for row in rows]


def later(batch: dict[str, Any], **fields: Any) -> None:
    """Let time pass: move the batch's moments."""
    CommandBatch.objects.filter(pk=batch["id"]).update(**fields)


def hand_out(command: Command | None) -> Command:
    """Lease a command as a claim would."""
    assert command is not None
    rows = Command.objects.filter(pk=command.pk)
    rows.update(status="delivered", attempt=1, lease_expires_at=clock.now())
    command.refresh_from_db()
    return command
