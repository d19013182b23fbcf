"""What can be asked of a command beside what it is, and what keeps one waiting."""

from datetime import timedelta
from uuid import uuid4

import pytest

from commands import registry
from commands.models import Command, CommandBatch, CommandTemplate
from commands.tests.factories import CommandFactory
from common import clock, limits
from devices.models import DeviceState
from devices.tests.factories import DeviceFactory

PING = {"type": "ping", "payload": {}}


def queue(api, body=None, device="studio-1", **fields):
    return api.post(f"/api/v1/devices/{device}/commands", {**(body or PING), **fields})


def test_every_option_is_kept_and_shown(operator_api, device):
    options = {
        "priority": "high",
        "expires_in_s": 600,
        "run_timeout_s": 30,
        "retries": {"network": 3, "timeout": 1, "failed": 0},
        "retry_backoff_s": 5,
        "expect_version": "1.2.3",
        "expect_state": "healthy",
        "on_mismatch": "wait",
        "reconnect": "ask",
        "reconnect_after_s": 3600,
    }
    answer = queue(operator_api, **options)

    assert answer.status_code == 201
    del options["expires_in_s"]
    assert {name: answer.data[name] for name in options} == {**options, "priority": 50}
    assert (answer.data["protocol"], answer.data["sequence"]) == ("agent", 1)
    assert answer.headers["ETag"] == '"1"'


@pytest.mark.parametrize(
    ("name", "number"), [("low", -50), ("normal", 0), ("high", 50), ("urgent", 100), (7, 7)]
)
def test_priorities_have_names(operator_api, device, name, number):
    assert queue(operator_api, priority=name).data["priority"] == number


@pytest.mark.parametrize(
    "options",
    [
        {"priority": "pressing"},
        {"priority": 101},
        {"priority": {}},
        {"priority": [1]},
        {"retries": {"network": 11}},
        {"retries": {"rejected": 1, "network": -1}},
        {"retries": [1]},
        {"expect_state": ["healthy"]},
        {"expect_state": {"a": 1}},
        {"on_mismatch": {}},
        {"reconnect": []},
        {"run_timeout_s": 0},
        {"expires_in_s": 9},
        {"not_before": "tomorrow"},
        {"not_before": "9999-12-31T23:59:59-23:59"},
        {"not_before": "2999-01-01T00:00:00Z"},
        {"request_id": "1"},
        {"request_id": {}},
        {"template": []},
        {"type": []},
        {"type": {}},
        {"type": None},
        {"payload": []},
    ],
)
def test_what_cannot_be_is_refused_and_nothing_queued(operator_api, device, options):
    assert queue(operator_api, **options).status_code == 422
    assert not Command.objects.exists()


def test_a_schedule_moves_the_expiry_with_it(operator_api, device):
    start = clock.now() + timedelta(days=10)

    answer = queue(operator_api, not_before=start.isoformat(), expires_in_s=60)

    command = Command.objects.get(pk=answer.data["id"])
    assert (command.not_before, command.expires_at) == (start, start + timedelta(seconds=60))


def test_a_moment_that_is_over_is_no_schedule(operator_api, device):
    answer = queue(operator_api, not_before="2020-01-01T00:00:00Z")

    assert answer.data["not_before"] is None


def test_commands_of_a_device_are_numbered_in_the_order_they_came(operator_api, device):
    other = DeviceFactory(organization=device.organization, device_id="studio-2")

    numbers = [queue(operator_api).data["sequence"] for _ in range(3)]

    assert numbers == [1, 2, 3]
    assert queue(operator_api, device=other.device_id).data["sequence"] == 1


@pytest.mark.parametrize(
    ("kind", "disruptive"),
    [("reboot", True), ("update", True), ("restart_service", True), ("config", True),
     ("ping", False), ("collect_logs", False), ("drift_check", False), ("bundle", False)],
)  # fmt: skip
def test_some_types_disturb_the_device(kind, disruptive):
    known = {one.name: one for one in registry.kinds()}

    assert known[kind].disruptive is disruptive


@pytest.mark.parametrize(
    ("kind", "payload", "fine"),
    [
        ("ping", {}, True),
        ("ping", {"a": 1}, False),
        ("collect_logs", {"unit": "player.service", "since": "2h", "lines": 100}, True),
        ("collect_logs", {"since": "2026-01-01T00:00:00Z"}, True),
        ("collect_logs", {"since": "--vacuum"}, False),
        ("collect_logs", {"lines": 5001}, False),
        ("collect_logs", {"unit": "-u"}, False),
        ("drift_check", {"paths": ["/etc/hosts"]}, True),
        ("drift_check", {"paths": ["etc"]}, False),
        ("bundle", {"include_containers": True, "include_state": False}, True),
    ],
)
def test_the_new_types_have_their_schemas(operator_api, device, kind, payload, fine):
    answer = queue(operator_api, {"type": kind, "payload": payload})

    assert answer.status_code == (201 if fine else 422)


def test_a_payload_has_its_cap(operator_api, device):
    fits = {"type": "drift_check", "payload": {"paths": ["/" + "ü" * 250] * 64}}
    changes = {f"K{number}": "ü" * 1024 for number in range(32)}

    assert queue(operator_api, fits).status_code == 201
    answer = queue(operator_api, {"type": "config", "payload": {"changes": changes}})
    assert (answer.status_code, answer.data["code"]) == (422, "payload_refused")


def test_a_template_fills_in_what_is_not_sent(operator_api, device):
    template = CommandTemplate.objects.create(
        organization=device.organization,
        name="Nightly restart",
        kind="restart_service",
        payload={"service": "player.service"},
        options={"priority": 50, "retries": {"failed": 2}},
        created_at=clock.now(),
    )

    answer = queue(operator_api, {"template": str(template.pk), "priority": "low"})

    assert answer.status_code == 201
    assert (answer.data["type"], answer.data["payload"]) == (
        "restart_service",
        {"service": "player.service"},
    )
    assert (answer.data["priority"], answer.data["retries"]) == (-50, {"failed": 2})


def test_a_foreign_template_is_as_good_as_absent(stranger_api, operator_api, device, stranger):
    foreign = CommandTemplate.objects.create(
        organization=stranger.organization, name="x", kind="ping", created_at=clock.now()
    )

    assert queue(operator_api, {"template": str(foreign.pk)}).status_code == 404
    assert queue(operator_api, {"template": str(uuid4())}).status_code == 404


def test_a_request_id_queues_once(operator_api, device):
    name = str(uuid4())
    push = {"device_id": "studio-1", "command_type": "ping", "request_id": name}

    first, again = (operator_api.post("/api/v1/commands", push) for _ in range(2))
    other = operator_api.post("/api/v1/commands", {**push, "command_type": "reboot"})

    assert first.data["request_id"] == name
    assert again.data == first.data
    assert (other.status_code, other.data["code"]) == (409, "request_id_used")
    assert Command.objects.count() == 1


def test_a_request_id_of_another_device_is_refused(operator_api, stranger_api, device, stranger):
    DeviceFactory(organization=stranger.organization, device_id="globex-1")
    name = str(uuid4())
    push = {"command_type": "ping", "request_id": name}
    operator_api.post("/api/v1/commands", {**push, "device_id": "studio-1"})

    answer = stranger_api.post("/api/v1/commands", {**push, "device_id": "globex-1"})

    assert (answer.status_code, answer.data["code"]) == (409, "request_id_used")


@pytest.mark.parametrize("verb", ["cancel", "retry", "release"])
@pytest.mark.parametrize("by_header", [True, False])
def test_who_looked_at_another_version_is_told_the_present_one(
    operator_api, device, verb, by_header
):
    command = CommandFactory(device=device, held_reason="held")
    Command.objects.filter(pk=command.pk).update(priority=3)
    url = f"/api/v1/commands/{command.pk}/{verb}"

    answer = (
        operator_api.post(url, headers={"If-Match": '"1"'})
        if by_header
        else operator_api.post(url, {"expected_version": 1})
    )

    assert (answer.status_code, answer.data["code"]) == (409, "version_conflict")
    assert (answer.data["command_status"], answer.data["version"]) == ("queued", 2)
    fitting = operator_api.post(url, headers={"If-Match": '"2"'})
    assert fitting.status_code == (409 if verb == "retry" else 200)


@pytest.mark.parametrize("value", ["three", '"-1"', "1, 2", '"' + "9" * 30 + '"'])
def test_a_version_that_is_none_is_refused(operator_api, device, value):
    command = CommandFactory(device=device)

    answer = operator_api.post(f"/api/v1/commands/{command.pk}/cancel", headers={"If-Match": value})

    assert answer.status_code == 422


def test_a_retry_names_the_command_it_repeats_and_keeps_its_options(operator_api, device):
    now = clock.now()
    command = CommandFactory(
        device=device, kind="ping", status="failed", finished_at=now, priority=50,
        retries={"failed": 2}, created_at=now, expires_at=now + timedelta(seconds=90),
    )  # fmt: skip

    again = operator_api.post(f"/api/v1/commands/{command.pk}/retry").data

    assert str(again["retry_of"]) == str(command.pk)
    assert (again["priority"], again["retries"]) == (50, {"failed": 2})
    made = Command.objects.get(pk=again["id"])
    assert made.expires_at - made.created_at == timedelta(seconds=90)


def test_a_held_command_is_released_once_and_not_held_again(operator_api, device):
    command = CommandFactory(device=device, held_reason="away for long", reconnect="ask")
    url = f"/api/v1/commands/{command.pk}/release"

    released = operator_api.post(url)
    again = operator_api.post(url)

    assert (released.data["held_reason"], released.data["reconnect"]) == ("", "run")
    assert (again.status_code, again.data["code"]) == (409, "command_not_held")


class TestWhy:
    """Why has this not run yet?"""

    @pytest.fixture(autouse=True)
    def online(self, device):
        DeviceState.objects.filter(device=device).update(
            last_seen=clock.now(), health="healthy", version="1.0"
        )

    def why(self, api, command):
        answer = api.get(f"/api/v1/commands/{command.pk}/why").data
        return answer["waiting"], [reason["code"] for reason in answer["reasons"]]

    def test_nothing_keeps_it(self, viewer_api, device):
        assert self.why(viewer_api, CommandFactory(device=device)) == (True, [])

    def test_it_has_run(self, viewer_api, device):
        ended = CommandFactory(device=device, status="succeeded", finished_at=clock.now())

        assert self.why(viewer_api, ended) == (False, [])

    @pytest.mark.parametrize(
        ("fields", "codes"),
        [
            ({"held_reason": "x"}, ["held"]),
            ({"expect_version": "2.0"}, ["precondition"]),
            ({"expect_version": "1.0", "expect_state": "failed"}, ["precondition"]),
            ({"status": "delivered", "attempt": 1}, ["lease_held"]),
        ],
    )
    def test_the_command_itself(self, viewer_api, device, fields, codes):
        command = CommandFactory(
            device=device, lease_expires_at=clock.now() + limits.COMMAND_LEASE, **fields
        )

        assert self.why(viewer_api, command) == (True, codes)

    def test_its_time_has_not_come(self, viewer_api, device):
        at = clock.now() + timedelta(hours=1)
        command = CommandFactory(device=device, not_before=at)

        answer = viewer_api.get(f"/api/v1/commands/{command.pk}/why").data

        assert (answer["reasons"][0]["code"], answer["reasons"][0]["until"]) == (
            "not_before",
            at.isoformat().replace("+00:00", "Z"),
        )

    @pytest.mark.parametrize("fields", [{"health": "offline"}, {"last_seen": None}])
    def test_the_device_is_away(self, viewer_api, device, fields):
        DeviceState.objects.filter(device=device).update(**fields)

        assert self.why(viewer_api, CommandFactory(device=device)) == (True, ["offline"])

    def test_others_are_before_it(self, viewer_api, device):
        CommandFactory(device=device)
        busy = CommandFactory(device=device, disruptive=True, status="running", attempt=1)
        command = CommandFactory(device=device, disruptive=True)

        answer = viewer_api.get(f"/api/v1/commands/{command.pk}/why").data

        assert [reason["code"] for reason in answer["reasons"]] == ["order", "order"]
        assert str(busy.pk) in answer["reasons"][0]["detail"]

    def test_its_batch_is_paused(self, viewer_api, device):
        batch = CommandBatch.objects.create(
            organization=device.organization, name="all", status="paused", created_at=clock.now()
        )

        assert self.why(viewer_api, CommandFactory(device=device, batch=batch)) == (
            True,
            ["batch_paused"],
        )

    def test_the_device_should_stop(self, viewer_api, device):
        command = CommandFactory(
            device=device, status="running", attempt=1, cancel_requested_at=clock.now()
        )

        assert self.why(viewer_api, command) == (False, ["cancelling"])


class TestPush:
    """Orders that name their device in the body."""

    PUSH = {"device_id": "studio-1", "command_type": "ping", "payload": {}}

    @pytest.mark.parametrize(
        ("fields", "code"),
        [
            ({"protocol": "coap"}, "protocol_unavailable"),
            ({"parser_script_ref": "../../etc/passwd"}, "codec_unknown"),
            ({"parser_script_ref": "unheard_of.py"}, "codec_unknown"),
        ],
    )
    def test_what_is_not_there_is_refused_with_what_is(self, operator_api, device, fields, code):
        answer = operator_api.post("/api/v1/commands", {**self.PUSH, **fields})

        assert (answer.status_code, answer.data["code"]) == (422, code)

    def test_a_registered_codec_is_named_with_or_without_its_ending(self, operator_api, device):
        for name in ("json", "json.py"):
            answer = operator_api.post(
                "/api/v1/commands",
                {**self.PUSH, "parser_script_ref": name, "protocol": "AGENT", "qos": 1,
                 "retain": True, "confirmable": False, "metadata": {"a": 1}},
            )  # fmt: skip
            command = Command.objects.get(pk=answer.data["request_id"])
            assert (command.codec, command.protocol, command.qos) == ("json", "agent", 1)
            assert (command.retain, command.confirmable) == (True, False)
            assert command.metadata == {"a": 1}

    def test_all_or_none_queues_none_when_one_is_refused(self, operator_api, device):
        body = {"commands": [self.PUSH, {**self.PUSH, "command_type": "x"}], "atomic": True}

        answer = operator_api.post("/api/v1/commands/batch", body)

        assert (answer.status_code, answer.data["code"]) == (422, "batch_refused")
        assert list(answer.data["errors"]) == ["commands.1"]
        assert not Command.objects.exists()
        assert not CommandBatch.objects.exists()

    def test_a_push_is_linked_by_a_batch_and_keeps_its_order(self, operator_api, device):
        body = {"commands": [self.PUSH] * 3}

        answer = operator_api.post("/api/v1/commands/batch", body).data

        ids = [row["request_id"] for row in answer["results"]]
        rows = Command.objects.filter(batch=answer["batch_id"]).order_by("sequence")
        assert [str(row.pk) for row in rows] == ids

    def test_a_request_id_twice_in_a_push_is_one_command(self, operator_api, device):
        one = {**self.PUSH, "request_id": str(uuid4())}

        answer = operator_api.post("/api/v1/commands/batch", {"commands": [one, one]}).data

        assert (answer["successful"], Command.objects.count()) == (2, 1)

    @pytest.mark.parametrize(
        "item",
        [
            {"device_id": [], "command_type": {}},
            {"device_id": "studio-1", "command_type": "ping", "retries": {"network": {}}},
            {"device_id": "studio-1", "command_type": "ping", "priority": [[]]},
            {"device_id": "studio-1", "template": str(uuid4())},
            {},
        ],
    )
    def test_no_item_breaks_a_push(self, operator_api, device, item):
        answer = operator_api.post("/api/v1/commands/batch", {"commands": [self.PUSH, item]})

        assert answer.status_code == 200
        assert [row["success"] for row in answer.data["results"]] == [True, False]


def test_a_status_has_the_groups_push_services_know(operator_api, device):
    command = CommandFactory(device=device, retries={"failed": 2})

    answer = operator_api.get(f"/api/v1/commands/{command.pk}/status").data

    assert (answer["command_type"], answer["published"], answer["max_attempts"]) == (
        "reboot",
        True,
        3,
    )
    assert (answer["ack_deadline"], answer["events"][0]["to"]) == (None, "queued")
