"""The paths of the gateway, which stands in front of the URL conf: who may call, and how."""

from dataclasses import dataclass
from typing import Any

from accounts.policy import Action
from tests.routes import Body, fill
from tests.world import Names


@dataclass(frozen=True)
class GatewayOperation:
    """A path of the gateway, which stands in front of the URL conf."""

    name: str
    path: str
    action: Action
    body: Body
    method: str = "POST"
    status: int = 200
    # Who may call: the paths take no people.
    callers: tuple[str, ...] = ("device",)
    unlogged: str = ""

    def url(self, names: Names) -> str:
        return fill(self.path, names)


def _beat(_names: Names) -> dict[str, Any]:
    return {"boot_id": "boot-9", "sequence": 9, "version": "9", "metrics": {"cpu_percent": 9.0}}


GATEWAY = [
    GatewayOperation(
        "heartbeat",
        "/api/v1/devices/<device:device_id>/heartbeat",
        Action.HEARTBEAT_SEND,
        _beat,
        callers=("device", "operator_key", "admin_key"),
        unlogged="a heartbeat is telemetry: it is kept as such",
    ),
    GatewayOperation(
        "claim",
        "/api/v1/devices/<device:device_id>/commands/claim",
        Action.COMMAND_REPORT,
        lambda _: None,
        unlogged="handing out is no act of its own; the report on it is logged",
    ),
    GatewayOperation(
        "stream",
        "/api/v1/devices/<device:device_id>/stream",
        Action.COMMAND_REPORT,
        lambda _: None,
        method="GET",
        unlogged="to listen changes nothing",
    ),
    GatewayOperation(
        "telemetry-status",
        "/api/v1/telemetry/status",
        Action.HEARTBEAT_SEND,
        lambda names: {"device_id": names["device_id"], **_beat(names)},
        unlogged="a heartbeat is telemetry: it is kept as such",
    ),
    GatewayOperation(
        "telemetry-batch",
        "/api/v1/telemetry/batch",
        Action.HEARTBEAT_SEND,
        lambda names: {"heartbeats": [{"device_id": names["device_id"], **_beat(names)}]},
        callers=("device", "operator_key", "admin_key"),
        unlogged="a heartbeat is telemetry: it is kept as such",
    ),
]
