import pytest

from audit.models import AuditEntry
from commands.models import Command
from commands.tests.factories import CommandFactory
from common import limits
from devices.tests.factories import DeviceFactory


def queue(api, device="studio-1", kind="reboot", payload=None, **fields):
    return api.post(
        f"/api/v1/devices/{device}/commands", {"type": kind, "payload": payload or {}, **fields}
    )


def test_a_queued_command_has_the_shape_clients_rely_on(operator_api, device):
    answer = queue(operator_api, payload={"delay_seconds": 60}, priority=1)

    assert answer.status_code == 201
    wanted = {"id", "request_id", "device_id", "type", "status"}
    assert wanted <= set(answer.data)
    assert (answer.data["status"], answer.data["id"]) == ("queued", answer.data["request_id"])
    entry = AuditEntry.objects.get(action="command.queue")
    assert entry.after == {
        "device": "studio-1",
        "type": "reboot",
        "payload": {"delay_seconds": 60},
    }


@pytest.mark.parametrize(
    ("kind", "payload"),
    [
        ("update", {"version": "1.1.0", "force": False}),
        ("reboot", {"delay_seconds": 60}),
        ("restart_service", {"service": "r58-api"}),
        ("bundle", {"include_logs": True, "include_config": True, "include_recordings": False}),
        ("config", {"changes": {"HEARTBEAT_INTERVAL": "30"}}),
    ],
)
def test_the_five_types_of_the_seed_are_taken(operator_api, device, kind, payload):
    assert queue(operator_api, kind=kind, payload=payload).status_code == 201


@pytest.mark.parametrize(
    ("kind", "payload", "code"),
    [
        ("explode", {}, "unknown_command_type"),
        ("reboot", {"delay_seconds": -1}, "payload_refused"),
        ("reboot", {"delay": 1}, "payload_refused"),
        ("restart_service", {}, "payload_refused"),
        ("restart_service", {"service": "a; rm -rf /"}, "payload_refused"),
        ("restart_service", {"service": "--now"}, "payload_refused"),
        ("config", {"changes": {}}, "payload_refused"),
        ("config", {"changes": {"lower": "x"}}, "payload_refused"),
        ("update", {"version": 1}, "payload_refused"),
    ],
)
def test_what_does_not_fit_its_schema_is_refused(operator_api, device, kind, payload, code):
    answer = queue(operator_api, kind=kind, payload=payload)

    assert (answer.status_code, answer.data["code"]) == (422, code)
    assert not Command.objects.exists()


def test_a_device_holds_so_many_open_commands_and_no_more(operator_api, device):
    CommandFactory.create_batch(
        limits.COMMANDS_PER_DEVICE, device=device, organization=device.organization
    )

    answer = queue(operator_api)

    assert (answer.status_code, answer.data["code"]) == (409, "queue_full")


def test_a_viewer_queues_nothing(viewer_api, device):
    assert queue(viewer_api).status_code == 403


def test_the_list_is_filtered(operator_api, device):
    CommandFactory(device=device, kind="reboot")
    CommandFactory(device=device, kind="bundle")

    def kinds(query):
        return [
            row["type"] for row in operator_api.get(f"/api/v1/commands?{query}").data["results"]
        ]

    assert kinds("") == ["bundle", "reboot"]
    assert kinds("type=reboot") == ["reboot"]
    assert kinds("status=succeeded") == []
    assert kinds("device_id=studio-1&status=queued&status=running") == ["bundle", "reboot"]


def test_the_list_costs_the_same_whatever_its_length(
    operator_api, device, django_assert_max_num_queries
):
    CommandFactory.create_batch(50, device=device)

    with django_assert_max_num_queries(4):
        assert len(operator_api.get("/api/v1/commands").data["results"]) == 50


def test_a_cancelled_command_is_cancelled_once(operator_api, device):
    command = CommandFactory(device=device)
    url = f"/api/v1/commands/{command.pk}/cancel"

    assert operator_api.post(url).data["status"] == "cancelled"
    again = operator_api.post(url)

    assert (again.status_code, again.data["code"]) == (409, "command_ended")
    assert AuditEntry.objects.filter(action="command.cancel").count() == 1


def test_a_stranger_cannot_tell_a_foreign_command_from_none(stranger_api, device):
    command = CommandFactory(device=device)
    foreign = stranger_api.post(f"/api/v1/commands/{command.pk}/cancel")
    absent = stranger_api.post("/api/v1/commands/00000000-0000-7000-8000-000000000000/cancel")

    assert (foreign.status_code, foreign.content) == (404, absent.content)


def test_what_ended_badly_is_tried_again_as_a_new_command(operator_api, device):
    command = CommandFactory(
        device=device,
        kind="reboot",
        payload={"delay_seconds": 5},
        status="failed",
        finished_at=device.created_at,
    )

    answer = operator_api.post(f"/api/v1/commands/{command.pk}/retry")

    assert answer.status_code == 201
    assert answer.data["id"] != str(command.pk)
    assert answer.data["payload"] == {"delay_seconds": 5}


def test_what_is_open_is_not_tried_again(operator_api, device):
    command = CommandFactory(device=device)

    answer = operator_api.post(f"/api/v1/commands/{command.pk}/retry")

    assert (answer.status_code, answer.data["code"]) == (409, "command_not_retryable")


PUSH = {"device_id": "studio-1", "command_type": "reboot", "payload": {}}


def test_a_command_is_pushed_by_device_id(operator_api, device):
    answer = operator_api.post("/api/v1/commands", PUSH)

    assert answer.status_code == 200
    assert set(answer.data) >= {"success", "request_id", "message", "timestamp"}
    assert (answer.data["status"], answer.data["device_id"]) == ("queued", "studio-1")
    status = operator_api.get(f"/api/v1/commands/{answer.data['request_id']}/status")
    assert (status.data["status"], status.data["done"]) == ("queued", False)


def test_a_protocol_without_a_transport_is_refused_with_those_there_are(operator_api, device):
    answer = operator_api.post("/api/v1/commands", {**PUSH, "protocol": "coap"})

    assert (answer.status_code, answer.data["code"]) == (422, "protocol_unavailable")
    assert "agent" in answer.data["detail"]


def test_a_batch_judges_each_command_by_itself_and_in_order(operator_api, device, stranger):
    DeviceFactory(organization=stranger.organization, device_id="foreign")
    answer = operator_api.post(
        "/api/v1/commands/batch",
        {
            "commands": [
                PUSH,
                {**PUSH, "device_id": "foreign"},
                {**PUSH, "device_id": "absent"},
                {**PUSH, "protocol": "mqtt"},
                {"nonsense": 1},
            ]
        },
    )

    assert answer.status_code == 200
    assert (answer.data["total_commands"], answer.data["successful"], answer.data["failed"]) == (
        5,
        1,
        4,
    )
    results = answer.data["results"]
    assert [row["success"] for row in results] == [True, False, False, False, False]
    assert results[1]["message"] == results[2]["message"]
