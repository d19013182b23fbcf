from datetime import timedelta
from typing import Any

import pytest

from accounts.models import Organization
from accounts.policy import Role
from accounts.principals import Principal
from accounts.tests.factories import member
from audit.models import AuditEntry
from commands import services
from commands.models import Command, OutputChunk
from commands.tests.factories import CommandFactory
from common import clock, limits
from common.ids import uuid7
from console.tests.browsers import browser_of, text_of
from devices.models import Device
from devices.tests.factories import DeviceFactory

VIEWS = ["live", "output", "download"]
ACTS = ["cancel", "retry", "release"]


def at(command: Command, part: str = "change") -> str:
    return f"/admin/commands/command/{command.pk}/{part}/"


def running(device: Device, **fields: Any) -> Command:
    """Return a command whose first attempt is under way; the triggers write its trail."""
    now = clock.now()
    command = CommandFactory(device=device, **fields)
    rows = Command.objects.filter(pk=command.pk)
    rows.update(
        status="delivered",
        attempt=1,
        delivered_at=now,
        lease_expires_at=now + limits.COMMAND_LEASE,
        moved_by="gateway",
    )
    rows.update(
        status="running",
        started_at=now,
        run_deadline=now + timedelta(hours=1),
        lease_expires_at=None,
        moved_by="device",
    )
    command.refresh_from_db()
    return command


def prints(command: Command, *texts: str) -> None:
    first = command.chunks.filter(attempt=command.attempt).count()
    for number, text in enumerate(texts, start=first):
        services.output_append(
            command=command, attempt=command.attempt, index=number, text=text, now=clock.now()
        )


def ends(command: Command, status: str = "failed", **fields: Any) -> None:
    Command.objects.filter(pk=command.pk).update(
        status=status, finished_at=clock.now(), run_deadline=None, moved_by="device", **fields
    )
    command.refresh_from_db()


@pytest.mark.parametrize("part", VIEWS)
def test_a_foreign_command_and_an_absent_one_give_the_same_404(
    operator: Principal, other_organization: Organization, part: str
):
    foreign = CommandFactory(device=DeviceFactory(organization=other_organization))
    browser = browser_of(operator)

    seen = [browser.get(f"/admin/commands/command/{pk}/{part}/") for pk in (foreign.pk, uuid7())]

    assert [answer.status_code for answer in seen] == [404, 404]
    assert seen[0].content == seen[1].content


@pytest.mark.parametrize("part", VIEWS)
def test_a_command_of_no_granted_group_is_absent_for_a_limited_person(
    organization: Organization, device: Device, part: str
):
    limited = member(organization, Role.OPERATOR, limited_to_groups=True)

    assert browser_of(limited).get(at(CommandFactory(device=device), part)).status_code == 404


@pytest.mark.parametrize("part", ACTS)
def test_a_foreign_command_is_acted_on_by_nobody(
    admin: Principal, other_organization: Organization, part: str
):
    foreign = CommandFactory(
        device=DeviceFactory(organization=other_organization), held_reason="ask"
    )
    browser = browser_of(admin)

    answers = [
        browser.post(f"/admin/commands/command/{pk}/{part}/") for pk in (foreign.pk, uuid7())
    ]

    assert answers[0].url == answers[1].url == "/admin/"
    foreign.refresh_from_db()
    assert (foreign.status, foreign.held_reason) == ("queued", "ask")
    assert Command.objects.count() == 1


@pytest.mark.parametrize("part", ACTS)
def test_a_viewer_sees_no_button_and_is_refused(viewer: Principal, device: Device, part: str):
    held = CommandFactory(device=device, held_reason="ask")
    failed = CommandFactory(device=device, status="failed", finished_at=clock.now())
    browser = browser_of(viewer)

    for command in (held, failed):
        assert at(command, part) not in browser.get(at(command)).content.decode()
        assert at(command, part) not in browser.get(at(command, "live")).content.decode()
        assert browser.post(at(command, part)).status_code == 403
    held.refresh_from_db()
    assert (held.status, held.held_reason) == ("queued", "ask")
    assert Command.objects.count() == 2


@pytest.mark.parametrize("part", ACTS)
def test_acts_are_forms(operator: Principal, device: Device, part: str):
    assert browser_of(operator).get(at(CommandFactory(device=device), part)).status_code == 403


def offered(browser: Any, command: Command) -> set[str]:
    page = browser.get(at(command)).content.decode()
    return {part for part in ACTS if at(command, part) in page}


def test_only_the_acts_that_fit_the_state_are_offered(operator: Principal, device: Device):
    ended = {"finished_at": clock.now()}
    browser = browser_of(operator)

    assert offered(browser, CommandFactory(device=device)) == {"cancel"}
    assert offered(browser, CommandFactory(device=device, held_reason="ask")) == {
        "cancel",
        "release",
    }
    assert offered(browser, CommandFactory(device=device, status="failed", **ended)) == {"retry"}
    assert offered(browser, CommandFactory(device=device, status="succeeded", **ended)) == set()


def test_the_head_says_what_it_is_of_whom_and_what_it_repeats(viewer: Principal, device: Device):
    first = CommandFactory(device=device, status="failed", finished_at=clock.now())
    again = CommandFactory(device=device, retry_of=first, created_by="Ada", kind="reboot")
    browser = browser_of(viewer)

    page = text_of(browser.get(at(again)))

    for part in ("Reboot", "studio-1", "by Ada", "retry of an earlier one", at(first), "version 1"):
        assert part in page
    assert at(again) in text_of(browser.get(at(first)))


def test_secrets_of_a_payload_are_masked(viewer: Principal, device: Device):
    command = CommandFactory(
        device=device,
        kind="config",
        payload={"changes": {"MQTT_PASSWORD": "hunter2", "LOG_LEVEL": "debug"}},
    )

    page = text_of(browser_of(viewer).get(at(command)))

    assert "hunter2" not in page
    assert "debug" in page


def test_the_page_says_why_a_command_waits_and_when_that_changes(viewer: Principal, device: Device):
    later = clock.now() + timedelta(minutes=20)
    command = CommandFactory(device=device, not_before=later)

    page = text_of(browser_of(viewer).get(at(command)))

    assert "Why has this not run yet" in page
    assert "not_before" in page
    assert f"{later:%Y-%m-%d %H:%M:%S} UTC" in page


def test_nobody_asks_why_once_it_has_ended(viewer: Principal, device: Device):
    command = CommandFactory(device=device, status="succeeded", finished_at=clock.now())

    assert "Why has this" not in text_of(browser_of(viewer).get(at(command)))


def test_attempts_and_steps_are_told(viewer: Principal, device: Device):
    command = running(device)
    prints(command, "half way\n")
    ends(command, error="Unit <x> failed", error_code="exit_3", failure_class="failed")

    page = text_of(browser_of(viewer).get(at(command)))

    for part in (
        "Attempts",
        "exit_3",
        "Unit &lt;x&gt; failed",
        "by gateway",
        "by device",
        "0.0 s",
    ):
        assert part in page
    assert "half way" in page


def test_output_comes_piece_by_piece(viewer: Principal, device: Device):
    command = running(device)
    prints(command, "one\n", "two\n")
    browser = browser_of(viewer)

    page = browser.get(at(command)).content.decode()
    prints(command, "three\n")
    new = browser.get(at(command, "output"), {"seen": "1", "next": "2"}).content.decode()
    nothing = browser.get(at(command, "output"), {"seen": "1", "next": "3"}).content.decode()

    assert "one\ntwo\n" in page
    assert 'data-next="2"' in page
    assert "three" in new
    assert "two" not in new
    assert 'data-next="3"' in new
    assert ">\n</pre>" in nothing


def test_the_output_of_a_new_attempt_begins_anew(viewer: Principal, device: Device):
    command = running(device)
    prints(command, "first try\n")
    OutputChunk.objects.create(
        organization=device.organization, command=command, attempt=2, index=0,
        text="second try\n", end=11, at=clock.now(),
    )  # fmt: skip
    Command.objects.filter(pk=command.pk).update(attempt=2)
    browser = browser_of(viewer)

    followed = browser.get(at(command, "output"), {"seen": "1", "next": "1"}).content.decode()
    kept = browser.get(at(command), {"attempt": "1"}).content.decode()

    assert "second try" in followed
    assert 'data-seen="2"' in followed
    assert "first try" in kept
    assert "second try" not in kept


@pytest.mark.parametrize("query", ["?next=x&seen=-1", "?next=99999999999999999999", "?attempt=²"])
def test_a_place_in_the_output_that_is_none_gives_a_page_all_the_same(
    viewer: Principal, device: Device, query: str
):
    command = running(device)
    browser = browser_of(viewer)

    for part in ("change", *VIEWS):
        assert browser.get(at(command, part) + query).status_code == 200


@pytest.mark.parametrize("part", ["change", "output"])
def test_what_is_printed_is_text_and_nothing_else(viewer: Principal, device: Device, part: str):
    command = running(device)
    prints(command, "</pre><script>alert(1)</script>", "\x1b[31mred\x1b[0m \x07\u202eevil\r\n")

    page = browser_of(viewer).get(at(command, part)).content.decode()

    assert "<script>alert(1)" not in page
    assert "&lt;/pre&gt;&lt;script&gt;alert(1)&lt;/script&gt;red ^G\ufffdevil\n" in page


def test_a_sequence_for_terminals_that_is_cut_in_two_is_still_taken_out(
    viewer: Principal, device: Device
):
    command = running(device)
    prints(command, "a\x1b[3")
    browser = browser_of(viewer)

    first = browser.get(at(command, "output")).content.decode()
    prints(command, "1mb")
    second = browser.get(at(command, "output"), {"seen": "1", "next": "1"}).content.decode()

    assert first.endswith(">\na</pre>\n")
    assert second.endswith(">\nb</pre>\n")


def test_what_only_the_report_said_is_shown_once(viewer: Principal, device: Device):
    command = running(device)
    ends(command, "succeeded", output="all of it")
    browser = browser_of(viewer)

    first = browser.get(at(command, "output")).content.decode()
    second = browser.get(at(command, "output"), {"seen": "1", "next": "1"}).content.decode()

    assert "all of it" in first
    assert "all of it" not in second
    assert "data-done" in second


def test_long_output_shows_its_end_and_is_downloaded_whole(viewer: Principal, device: Device):
    command = running(device)
    line = "x" * (limits.OUTPUT_CHUNK_CHARS - 1) + "\n"
    prints(command, "the beginning\n", *[line] * 64, "dropped")
    browser = browser_of(viewer)

    page = browser.get(at(command)).content.decode()
    download = browser.get(at(command, "download"))

    assert "the beginning" not in page
    assert "are left out here" in page
    assert "the rest was dropped" in page
    assert download["Content-Type"] == "text/plain; charset=utf-8"
    assert "attachment" in download["Content-Disposition"]
    assert len(download.content) == limits.OUTPUT_TOTAL_CHARS
    assert download.content.startswith(b"the beginning\n")


def test_cancelling_keeps_the_reason_and_asks_the_device_that_runs_it(
    operator: Principal, device: Device
):
    command = running(device)

    page = text_of(
        browser_of(operator).post(
            at(command, "cancel"),
            {"reason": "Wrong device", "expected_version": str(command.version)},
            follow=True,
        )
    )

    command.refresh_from_db()
    assert command.status == "running"
    assert command.cancel_requested_at is not None
    assert "The device was asked to stop" in page
    assert "Why has this not stopped yet" in page
    assert AuditEntry.objects.get(action="command.cancel").after["reason"] == "Wrong device"


def test_force_ends_it_at_once(operator: Principal, device: Device):
    command = running(device)

    browser_of(operator).post(at(command, "cancel"), {"force": "on"})

    command.refresh_from_db()
    assert (command.status, command.error_code) == ("cancelled", "cancel_forced")


def test_who_looked_at_an_older_version_sees_the_present_state_and_loses_nothing(
    operator: Principal, device: Device
):
    command = CommandFactory(device=device)
    looked_at = command.version
    command = running_again(command)

    answer = browser_of(operator).post(
        at(command, "cancel"),
        {"reason": "Not <needed>", "force": "on", "expected_version": str(looked_at)},
    )

    page = text_of(answer)
    command.refresh_from_db()
    assert answer.status_code == 409
    assert command.status == "running"
    assert "Look at it again" in page
    assert 'value="Not &lt;needed&gt;"' in page
    assert "checked" in page
    assert f'name="expected_version" value="{command.version}"' in page


def running_again(command: Command) -> Command:
    """Move the command on, as a device does meanwhile."""
    now = clock.now()
    rows = Command.objects.filter(pk=command.pk)
    rows.update(status="delivered", attempt=1, lease_expires_at=now + limits.COMMAND_LEASE)
    rows.update(status="running", run_deadline=now + timedelta(hours=1), lease_expires_at=None)
    return Command.objects.get(pk=command.pk)


@pytest.mark.parametrize("part", ["retry", "release"])
def test_other_acts_are_bound_to_what_was_looked_at_too(
    operator: Principal, device: Device, part: str
):
    command = CommandFactory(device=device, held_reason="ask")

    answer = browser_of(operator).post(at(command, part), {"expected_version": "7"})

    command.refresh_from_db()
    assert answer.status_code == 409
    assert command.held_reason == "ask"
    assert Command.objects.count() == 1


def test_a_version_that_is_none_is_refused_and_the_reason_kept(operator: Principal, device: Device):
    command = CommandFactory(device=device)

    answer = browser_of(operator).post(
        at(command, "cancel"), {"expected_version": "x", "reason": "Kept"}
    )

    command.refresh_from_db()
    assert answer.status_code == 422
    assert 'value="Kept"' in text_of(answer)
    assert command.status == "queued"


def test_a_failed_command_is_tried_again_as_a_new_one(operator: Principal, device: Device):
    command = CommandFactory(device=device, status="failed", finished_at=clock.now())

    answer = browser_of(operator).post(
        at(command, "retry"), {"expected_version": str(command.version)}
    )

    again = Command.objects.get(retry_of=command)
    assert answer.url == at(again)
    assert (again.status, again.created_by) == ("queued", operator.label)


def test_the_same_form_sent_twice_tries_again_once(operator: Principal, device: Device):
    command = CommandFactory(device=device, status="failed", finished_at=clock.now())
    browser = browser_of(operator)
    page = browser.get(at(command)).content.decode()
    nonce = page.split('name="sent_once" value="')[1].split('"')[0]

    first, second = (browser.post(at(command, "retry"), {"sent_once": nonce}) for _ in range(2))

    assert Command.objects.filter(retry_of=command).count() == 1
    assert first.url == second.url


def test_an_act_that_was_refused_may_be_sent_again(operator: Principal, device: Device):
    command = CommandFactory(device=device)
    browser = browser_of(operator)

    refused = text_of(browser.post(at(command, "retry"), {"sent_once": "a nonce"}, follow=True))
    ends(running_again(command))
    browser.post(at(command, "retry"), {"sent_once": "a nonce"})

    assert "only one that ended badly is tried again" in refused
    assert Command.objects.filter(retry_of=command).count() == 1


def test_a_held_command_is_released_once(operator: Principal, device: Device):
    command = CommandFactory(device=device, held_reason="Offline for long")
    browser = browser_of(operator)

    first = text_of(browser.post(at(command, "release"), follow=True))
    second = text_of(browser.post(at(command, "release"), follow=True))

    command.refresh_from_db()
    assert command.held_reason == ""
    assert "The command is released." in first
    assert "there is nothing to release" in second
    assert AuditEntry.objects.filter(action="command.release").count() == 1


def test_the_fragments_cost_the_same_whatever_was_printed(
    viewer: Principal, device: Device, django_assert_max_num_queries
):
    command = running(device)
    prints(command, *[f"line {number}\n" for number in range(30)])
    browser = browser_of(viewer)

    with django_assert_max_num_queries(7):
        browser.get(at(command, "output"), {"seen": "1", "next": "3"})
    with django_assert_max_num_queries(20):
        browser.get(at(command, "live"))
