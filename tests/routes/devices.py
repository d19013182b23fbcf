"""Devices, groups, enrolment."""

from typing import Any

from tests.routes.shapes import Entry, Operation, get
from tests.world import Names


def _config(names: Names) -> dict[str, Any]:
    return {"type": "config", "payload": {"changes": {"NOTE": "x"}}}


TOKEN = {"pk": "enrollment_token_id"}
GROUP = {"pk": "group_id"}
PENDING = {"device_id": "pending_device_id"}

DEVICES = [
    Operation(
        "device-register",
        "POST",
        status=201,
        body=lambda names: {"device_id": names["new_device_id"], "name": "New"},
        also=(
            lambda names: {"device_id": names["device_id"], "name": "Taken over"},
            lambda names: {"device_id": "mine", "organization": names["slug"]},
            lambda names: {"device_id": "mine", "enrollment_token": names["enrollment_secret"]},
        ),
        entries=(Entry("device.register", "device"),),
        # The door of devices: without a credential of the organisation nobody comes in.
        expect={"anonymous": 403, "outsider": 403, "device": 403},
    ),
    get("device-config"),
    Operation(
        "device-token-rotate",
        "POST",
        entries=(Entry("device.token_rotate", "device", "device_pk"),),
        body=lambda _: {},
    ),
    get("device-commands"),
    Operation(
        "device-commands",
        "POST",
        status=201,
        body=_config,
        entries=(Entry("command.queue", "command"),),
    ),
    get("enrollment-tokens"),
    Operation(
        "enrollment-tokens",
        "POST",
        status=201,
        body=lambda names: {"name": "new token", "max_uses": 2, "group": names["group_name"]},
        entries=(Entry("enrollment_token.issue", "enrollmenttoken"),),
    ),
    get("enrollment-token", path=TOKEN),
    Operation(
        "enrollment-token",
        "DELETE",
        status=204,
        path=TOKEN,
        entries=(Entry("enrollment_token.revoke", "enrollmenttoken", "enrollment_token_id"),),
    ),
    get("device-groups"),
    Operation(
        "device-groups",
        "POST",
        status=201,
        body=lambda _: {"name": "new group", "description": "made by a test"},
        also=(lambda names: {"name": names["group_name"]},),
        entries=(Entry("group.create", "devicegroup"),),
    ),
    get("device-group", path=GROUP),
    Operation(
        "device-group",
        "PATCH",
        path=GROUP,
        body=lambda _: {"description": "changed"},
        entries=(Entry("group.update", "devicegroup", "group_id"),),
    ),
    Operation(
        "device-group",
        "DELETE",
        status=204,
        path=GROUP,
        entries=(Entry("group.delete", "devicegroup", "group_id"),),
    ),
    Operation(
        "device-group-grant",
        "PUT",
        status=204,
        path=GROUP,
        entries=(Entry("group.grant", "devicegroup", "group_id"),),
    ),
    Operation(
        "device-group-grant",
        "DELETE",
        status=204,
        path=GROUP,
        entries=(Entry("group.revoke", "devicegroup", "group_id"),),
    ),
    get("devices"),
    get("device"),
    Operation(
        "device",
        "PATCH",
        body=lambda names: {"name": "changed", "groups": [names["group_name"]]},
        entries=(Entry("device.update", "device", "device_pk"),),
    ),
    Operation(
        "device",
        "DELETE",
        status=204,
        entries=(Entry("device.retire", "device", "device_pk"),),
    ),
    Operation(
        "device-status",
        "PATCH",
        body=lambda _: {"status": "degraded", "reason": "a test"},
        entries=(Entry("device.status_override", "device", "device_pk"),),
    ),
    Operation(
        "device-accept",
        "POST",
        path=PENDING,
        entries=(Entry("device.accept", "device", "pending_device_pk"),),
    ),
    Operation(
        "device-reject",
        "POST",
        path=PENDING,
        body=lambda _: {"reason": "a test"},
        entries=(Entry("device.reject", "device", "pending_device_pk"),),
    ),
    get("device-heartbeats"),
    get("device-events"),
    get("device-metrics"),
]
