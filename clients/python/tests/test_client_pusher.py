"""The name and the methods that callers of push services know."""

from __future__ import annotations

import anyio
from faulty_portal import API_KEY, Reply, problem

from fleet_client import PusherAPIClient

COMMAND = {
    "device_id": "kiosk-1",
    "command_type": "reboot",
    "payload": {},
    "protocol": "agent",
    "parser_script_ref": "kiosk.py",
    "metadata": {"a": 1},
    "qos": 1,
}
TAKEN = {
    "success": True,
    "request_id": "c-1",
    "message": "Queued.",
    "timestamp": "2026-03-01T12:00Z",
}


def test_a_pushed_command_is_true_and_arrives_as_it_was_given(portal):
    portal.on("POST", "/commands", Reply(TAKEN))

    async def run():
        async with PusherAPIClient(portal.url, api_key=API_KEY) as pusher:
            return await pusher.push_command(**COMMAND)

    assert anyio.run(run) is True
    assert portal.seen[0].body == COMMAND
    assert portal.seen[0].key


def test_a_refused_command_is_false_and_the_reason_is_kept(portal):
    portal.on("POST", "/commands", problem(422, "protocol_unavailable", "Only agent."))

    async def run():
        async with PusherAPIClient(portal.url, API_KEY) as pusher:
            return await pusher.push_command(**COMMAND), pusher.last_error

    taken, error = anyio.run(run)

    assert taken is False
    assert error.code == "protocol_unavailable"


def test_batches_status_and_waiting_are_there_too(portal):
    result = {"total_commands": 2, "successful": 1, "failed": 1, "results": [TAKEN, {}]}
    portal.on("POST", "/commands/batch", Reply(result))
    portal.on("GET", "/commands/c-1/status", Reply({"request_id": "c-1", "status": "queued"}))
    portal.on("GET", "/commands/c-1", Reply({"id": "c-1", "status": "succeeded"}))

    async def run():
        async with PusherAPIClient(portal.url, API_KEY) as pusher:
            pushed = await pusher.push_batch([COMMAND, COMMAND])
            status = await pusher.status("c-1")
            return pushed, status, await pusher.wait("c-1", timeout=5)

    pushed, status, ended = anyio.run(run)

    assert (pushed.successful, pushed.failed) == (1, 1)
    assert pushed.results[0].request_id == "c-1"
    assert status.status == "queued"
    assert ended.has_succeeded
