"""Attempts: who may speak about one, what a failure leads to, and how one is stopped."""

from datetime import timedelta

import pytest

from commands import services
from commands.models import Command, CommandAttempt, CommandEvent
from commands.services.retries import pause_s
from commands.tests.factories import CommandFactory, deliver
from common import clock, limits

SECOND = timedelta(seconds=1)


@pytest.fixture
def now(db):
    return clock.now()


@pytest.fixture
def command(device, now):
    return deliver(CommandFactory(device=device, created_at=now, retry_backoff_s=10))


def report(api, command, status, attempt=1, **fields):
    return api.patch(
        f"/api/v1/commands/{command.pk}", {"status": status, "attempt": attempt, **fields}
    )


def policy(command, **retries):
    Command.objects.filter(pk=command.pk).update(retries=retries)


def test_a_failure_with_another_attempt_waits_in_the_queue(device_api, command):
    policy(command, network=2)

    answer = report(device_api, command, "failed", failure_class="network", error="no route")

    assert (answer.status_code, answer.data["status"]) == (200, "queued")
    command.refresh_from_db()
    pause = (command.not_before - clock.now()).total_seconds()
    assert 4 < pause <= 10
    assert (command.finished_at, command.started_at) == (None, None)
    attempt = CommandAttempt.objects.get(command=command)
    assert (attempt.outcome, attempt.failure_class, attempt.error) == (
        "failed",
        "network",
        "no route",
    )


def test_the_policy_counts_by_class_and_then_ends(device_api, command):
    policy(command, network=1, failed=1)

    statuses = []
    for kind in ("network", "failed", "network"):
        answer = report(device_api, command, "failed", command.attempt, failure_class=kind)
        statuses.append(answer.data["status"])
        if statuses[-1] == "queued":
            command.refresh_from_db()
            deliver(command)

    assert statuses == ["queued", "queued", "failed"]
    numbers = CommandAttempt.objects.filter(command=command).values_list("number", flat=True)
    assert sorted(numbers) == [1, 2, 3]


def test_a_refusal_is_never_tried_again(device_api, command):
    policy(command, network=5, failed=5, timeout=5)

    assert report(device_api, command, "rejected", error="no").data["status"] == "rejected"


def test_a_report_of_an_earlier_attempt_is_refused_unless_it_repeats_its_end(device_api, command):
    policy(command, failed=3)
    report(device_api, command, "failed")
    command.refresh_from_db()
    deliver(command)

    again = report(device_api, command, "failed", attempt=1)
    other = report(device_api, command, "succeeded", attempt=1)

    assert (again.status_code, again.data["status"]) == (200, "delivered")
    assert (other.status_code, other.data["command_status"], other.data["attempt"]) == (
        409,
        "delivered",
        2,
    )


def test_an_attempt_that_failed_was_not_cancelled_by_a_later_cancel(
    operator_api, device_api, command
):
    policy(command, failed=1)
    report(device_api, command, "failed")
    operator_api.post(f"/api/v1/commands/{command.pk}/cancel", {})

    assert report(device_api, command, "failed").status_code == 200
    answer = report(device_api, command, "cancelled")
    assert (answer.status_code, answer.json()["command_status"]) == (409, "cancelled")


def test_timers_begin_with_the_run_and_a_step_never_outlives_it(device_api, command):
    Command.objects.filter(pk=command.pk).update(run_timeout_s=100)
    url = f"/api/v1/commands/{command.pk}/renew"

    begun = report(device_api, command, "running", step_timeout_s=30).data
    longer = device_api.post(url, {"attempt": 1, "step_timeout_s": 500}).data
    cleared = device_api.post(url, {"attempt": 1, "step_timeout_s": -1}).data

    command.refresh_from_db()
    assert command.run_deadline - command.started_at == 100 * SECOND
    assert begun["step_deadline"] < begun["run_deadline"]
    assert longer["step_deadline"] == longer["run_deadline"]
    assert cleared == {**longer, "step_deadline": None}


def test_a_lease_is_renewed_before_the_run(device_api, command, now):
    Command.objects.filter(pk=command.pk).update(lease_expires_at=now + SECOND)

    answer = device_api.post(f"/api/v1/commands/{command.pk}/renew", {"attempt": 1})

    command.refresh_from_db()
    assert answer.status_code == 200
    assert command.lease_expires_at >= now + limits.COMMAND_LEASE


def test_a_lease_is_not_renewed_past_the_expiry(device_api, command, now):
    lease = now + SECOND
    Command.objects.filter(pk=command.pk).update(lease_expires_at=lease, expires_at=now)

    device_api.post(f"/api/v1/commands/{command.pk}/renew", {"attempt": 1})

    command.refresh_from_db()
    assert command.lease_expires_at == lease


def test_an_attempt_that_is_over_is_not_renewed(device_api, command):
    report(device_api, command, "succeeded")

    answer = device_api.post(f"/api/v1/commands/{command.pk}/renew", {"attempt": 1})

    assert (answer.status_code, answer.data["command_status"]) == (409, "succeeded")


def test_a_device_is_asked_to_stop_and_says_that_it_did(operator_api, device_api, command):
    early = report(device_api, command, "cancelled")
    report(device_api, command, "running")
    asked = operator_api.post(f"/api/v1/commands/{command.pk}/cancel", {"timeout_s": 20}).data
    told = device_api.post(f"/api/v1/commands/{command.pk}/renew", {"attempt": 1}).data
    stopped = report(device_api, command, "cancelled")

    assert early.status_code == 409
    assert (asked["status"], told["cancel_requested"]) == ("running", True)
    assert (stopped.data["status"], stopped.data["cancel_requested"]) == ("cancelled", False)
    command.refresh_from_db()
    assert command.cancel_deadline is None


def test_what_somebody_wants_to_stop_is_not_tried_again(operator_api, device_api, command):
    policy(command, failed=5)
    operator_api.post(f"/api/v1/commands/{command.pk}/cancel")

    assert report(device_api, command, "failed").data["status"] == "failed"


def test_a_forced_cancel_asks_nobody(operator_api, device_api, command):
    answer = operator_api.post(
        f"/api/v1/commands/{command.pk}/cancel", {"force": True, "reason": "wrong device"}
    )
    late = report(device_api, command, "succeeded")

    assert (answer.data["status"], answer.data["error_code"]) == ("cancelled", "cancel_forced")
    assert answer.data["error"] == "wrong device"
    assert (late.status_code, late.data["command_status"]) == (409, "cancelled")


def test_the_timeline_tells_every_step_with_its_source(operator_api, device_api, command):
    report(device_api, command, "running")
    report(device_api, command, "failed", error="disk full", error_code="enospc")

    told = operator_api.get(f"/api/v1/commands/{command.pk}/timeline").data

    assert [(step["from"], step["to"], step["source"]) for step in told["events"]] == [
        ("", "queued", "api"),
        ("queued", "delivered", "gateway"),
        ("delivered", "running", "device"),
        ("running", "failed", "device"),
    ]
    assert (told["events"][-1]["code"], told["events"][-1]["detail"]) == ("enospc", "disk full")
    attempt = told["attempts"][0]
    assert (attempt["number"], attempt["outcome"], attempt["error_code"]) == (1, "failed", "enospc")


def test_the_trail_is_the_portals_alone(device_api, command):
    url = f"/api/v1/commands/{command.pk}"

    for part in ("timeline", "why", "output"):
        assert device_api.get(f"{url}/{part}").status_code == 403
    assert CommandEvent.objects.filter(command=command).count() == 2


@pytest.mark.parametrize(
    ("used", "least", "most"), [(0, 15, 30), (1, 30, 60), (6, 960, 1920), (7, 1800, 3600),
                                (10_000, 1800, 3600)],
)  # fmt: skip
def test_the_pause_doubles_up_to_an_hour(used, least, most):
    for _ in range(50):
        assert least <= pause_s(backoff_s=30, used=used) <= most


class TestOutput:
    """Output, piece by piece."""

    def send(self, api, command, index, text="x", attempt=1):
        return api.post(
            f"/api/v1/commands/{command.pk}/output",
            {"attempt": attempt, "index": index, "text": text},
        )

    def test_pieces_are_read_in_order_while_it_runs(self, operator_api, device_api, command):
        url = f"/api/v1/commands/{command.pk}/output"
        for index, text in enumerate(["one\n", "", "three\n"]):
            answer = self.send(device_api, command, index, text)
            assert (answer.status_code, answer.data["next_index"]) == (202, index + 1)

        seen = operator_api.get(url).data
        rest = operator_api.get(f"{url}?attempt=1&after=1").data

        assert [piece["text"] for piece in seen["chunks"]] == ["one\n", "", "three\n"]
        assert (seen["next_index"], seen["done"], seen["status"]) == (3, False, "delivered")
        assert [piece["index"] for piece in rest["chunks"]] == [2]
        report(device_api, command, "succeeded")
        assert operator_api.get(f"{url}?after=2").data["done"] is True

    def test_the_same_piece_again_is_accepted_also_after_the_end(self, device_api, command):
        self.send(device_api, command, 0)
        report(device_api, command, "succeeded")

        assert self.send(device_api, command, 0).status_code == 202
        assert self.send(device_api, command, 1).status_code == 409
        assert command.chunks.count() == 1

    def test_a_gap_names_the_piece_to_send(self, device_api, command):
        self.send(device_api, command, 0)

        answer = self.send(device_api, command, 2)

        assert (answer.status_code, answer.data["code"], answer.data["next_index"]) == (
            409,
            "output_gap",
            1,
        )

    def test_what_is_over_the_cap_is_dropped(self, device_api, command, monkeypatch):
        monkeypatch.setattr(limits, "OUTPUT_TOTAL_CHARS", 5)

        answers = [self.send(device_api, command, index, "abc") for index in range(4)]

        assert [answer.data["truncated"] for answer in answers] == [False, True, True, True]
        assert [answer.data["next_index"] for answer in answers] == [1, 2, 3, 4]
        assert "".join(command.chunks.order_by("index").values_list("text", flat=True)) == "abcab"

    def test_a_piece_has_its_cap(self, device_api, command):
        too_long = "x" * (limits.OUTPUT_CHUNK_CHARS + 1)

        assert self.send(device_api, command, 0, too_long).status_code == 422


def test_services_tell_of_the_version_they_left(command, operator):
    cancelled = services.command_cancel(
        command=command, actor=operator, now=clock.now(), force=True
    )

    command.refresh_from_db()
    assert cancelled.version == command.version
