"""A gateway on a committed database, and a device that may speak to it."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from devices.models import Device
from devices.tests.factories import token_of
from gateway.tests.door import Answer, Door
from gateway.tests.served import Served
from tests.gateway_client import GatewayClient


@pytest.fixture
def gateway(transactional_db: None) -> Iterator[GatewayClient]:
    """A gateway on the test's database; what tests write must be committed for it to see."""
    client = GatewayClient()
    yield client
    client.close()


@pytest.fixture
def door(transactional_db: None) -> Iterator[Door]:
    """A gateway that many call at once, and whose inside can be looked at."""
    opened = Door()
    yield opened
    opened.close()


@pytest.fixture
def served(transactional_db: None) -> Iterator[Served]:
    """A gateway behind a real HTTP server."""
    opened = Served()
    yield opened
    opened.close()


@pytest.fixture
def beat(door: Door, device: Device) -> Callable[..., Answer]:
    """Send one heartbeat of the device, given as members or as raw bytes."""
    headers = {"X-Device-Token": token_of(device)}

    def send(raw: bytes | None = None, **body: Any) -> Answer:
        url = f"/api/v1/devices/{device.device_id}/heartbeat"
        return door.post(url, body if raw is None else raw, headers)

    return send


@pytest.fixture
def token(transactional_db: None, device: Device) -> str:
    return token_of(device)
