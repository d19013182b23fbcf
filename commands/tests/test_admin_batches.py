"""Batches in the browser."""

from datetime import timedelta
from typing import Any

import pytest

from accounts.models import Organization
from accounts.policy import Role
from accounts.principals import Principal
from accounts.tests.factories import member
from audit.models import AuditEntry
from commands.models import BatchTarget, Command, CommandBatch, CommandTemplate
from commands.services import batches_advance
from common import clock
from common.ids import uuid7
from console.tests.browsers import browser_of, text_of
from devices.models import Device
from devices.tests.factories import DeviceFactory, group_of

LIST = "/admin/commands/commandbatch/"
NEW = f"{LIST}add/"
FORM = {
    "name": "restart the players",
    "kind": "restart_service",
    "restart_service-service": "player.service",
    "way": "filter",
    "role": "kiosk",
    "priority": "5",
    "expires_in_min": "30",
    "end_behavior": "stop",
}


@pytest.fixture
def kiosks(organization: Organization) -> list[Device]:
    return [DeviceFactory(organization=organization, device_id=f"kiosk-{n}") for n in range(4)]


def drafted(principal: Principal, **fields: Any) -> CommandBatch:
    """Fill in the form; return the draft it leads to."""
    answer = browser_of(principal).post(NEW, {**FORM, **fields})
    assert answer.status_code == 302, text_of(answer)[:4000]
    batch = CommandBatch.objects.latest("created_at")
    assert answer.url == f"{LIST}{batch.pk}/change/"
    return batch


def act(principal: Principal, batch: CommandBatch, verb: str, **entered: str) -> Any:
    return browser_of(principal).post(f"{LIST}{batch.pk}/do/{verb}/", entered, follow=True)


def test_the_form_makes_a_frozen_draft_and_sends_nothing(operator: Principal, kiosks: list[Device]):
    rules = {"rule-0-failure": "failed", "rule-0-threshold_percent": "20",
             "rule-0-min_completed": "2"}  # fmt: skip
    window = {"window_start": "22:00", "window_minutes": "90", "window_days": ["0", "4"],
              "window_timezone": "Europe/Berlin"}  # fmt: skip

    batch = drafted(operator, waves="1, 50 %", wave_pause_min="10", **rules, **window)

    assert (batch.status, batch.origin, batch.total) == ("draft", "console", 4)
    assert (batch.kind, batch.payload) == ("restart_service", {"service": "player.service"})
    assert batch.options == {"priority": 5, "expires_in_s": 1800}
    assert (batch.wave_sizes, batch.wave_pause_s) == ([1, 2, 1], 600)
    assert batch.abort_rules == [{"failure": "failed", "threshold_percent": 20, "min_completed": 2}]
    assert batch.window == {"start": "22:00", "duration_minutes": 90,
                            "timezone": "Europe/Berlin", "days": [0, 4]}  # fmt: skip
    page = text_of(browser_of(operator).get(f"{LIST}{batch.pk}/change/"))
    assert "Nothing has been sent." in page
    assert "4 devices will be told in 3 waves" in page
    assert not Command.objects.exists()


def test_a_started_draft_goes_out(operator: Principal, kiosks: list[Device]):
    batch = drafted(operator)

    page = text_of(act(operator, batch, "start", reason="as planned"))
    batches_advance(now=clock.now())

    assert "The batch is on its way." in page
    assert Command.objects.filter(batch=batch, status="queued").count() == 4
    entry = AuditEntry.objects.get(action="batch.start")
    assert entry.after["reason"] == "as planned"


@pytest.mark.parametrize(
    ("way", "count"),
    [
        ({"way": "tags", "tags": "lobby"}, 1),
        ({"way": "devices", "devices": "kiosk-1\nkiosk-2, kiosk-3"}, 3),
        ({"way": "filter", "role": ""}, 4),
        ({"way": "filter", "role": "kiosk", "status": "healthy"}, 0),
    ],
)
def test_the_live_count_tells_who_would_get_it(
    operator: Principal, kiosks: list[Device], way: dict[str, str], count: int
):
    Device.objects.filter(pk=kiosks[0].pk).update(tags=["lobby"])

    part = text_of(browser_of(operator).post(f"{LIST}preview/", {**FORM, **way, "waves": "1"}))

    assert f'<strong class="fp-large">{count}</strong>' in part
    assert not CommandBatch.objects.exists()


def test_the_live_count_says_who_is_left_out_and_why(operator: Principal, kiosks: list[Device]):
    Device.objects.filter(pk=kiosks[0].pk).update(maintenance_mode=True)
    listed = {"way": "devices", "devices": "kiosk-0 kiosk-1 nobody"}

    part = text_of(browser_of(operator).post(f"{LIST}preview/", {**FORM, **listed}))

    assert "2 left out" in part
    assert "kiosk-0: is in maintenance" in part
    assert "nobody: is not a device you see" in part


def test_a_group_of_others_cannot_be_chosen(
    operator: Principal, kiosks: list[Device], other_organization: Organization
):
    group = group_of(other_organization, name="theirs")
    form = {**FORM, "way": "group", "group": str(group.pk)}
    browser = browser_of(operator)

    page = browser.get(NEW).content.decode()
    answer = browser.post(NEW, form)

    assert "theirs" not in page
    assert answer.status_code == 200
    assert not CommandBatch.objects.exists()


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"waves": "ten"}, "“ten” is neither a number of devices nor a percentage."),
        ({"waves": "0"}, "neither a number"),
        ({"waves": "101 %"}, "neither a number"),
        ({"way": "devices"}, "Say which."),
        ({"restart_service-service": ""}, "This field is required."),
        ({"restart_service-service": "a b"}, "does not fit"),
        ({"role": "none such"}, "No device would get the command"),
        ({"window_start": "22:00"}, "A window has a start and a length."),
        ({"window_start": "22:00", "window_minutes": "5", "window_timezone": "Mars"},
         "There is no time zone “Mars”"),
        ({"end_at": "2001-01-01T00:00"}, "The end has to be in the future"),
        ({"kind": "dance"}, "Select a valid choice"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_said_in_the_form(
    operator: Principal, kiosks: list[Device], fields: dict[str, str], words: str
):
    page = text_of(browser_of(operator).post(NEW, {**FORM, **fields}))

    assert words in page
    assert not CommandBatch.objects.exists()


def test_selected_devices_lead_to_the_form(operator: Principal, kiosks: list[Device]):
    page = browser_of(operator).post(
        "/admin/devices/device/",
        {"action": "batch_for_selected", "_selected_action": [one.pk for one in kiosks[:2]]},
    )

    assert "kiosk-0\nkiosk-1" in page.content.decode()


def test_the_list_shows_status_and_progress(operator: Principal, kiosks: list[Device]):
    batch = drafted(operator)
    act(operator, batch, "start")
    batches_advance(now=clock.now())
    some = Command.objects.order_by("pk")[:1].values("pk")
    Command.objects.filter(pk__in=some).update(status="cancelled", finished_at=clock.now())

    page = text_of(browser_of(operator).get(LIST))

    assert "restart the players" in page
    assert "1 of 4" in page
    assert "3 queued" in page
    assert "fp-is-running" in page
    assert "restart the players" not in text_of(browser_of(operator).get(f"{LIST}?status=draft"))


def test_the_page_groups_failures_and_offers_another_go(operator: Principal, kiosks: list[Device]):
    batch = drafted(operator)
    act(operator, batch, "start")
    batches_advance(now=clock.now())
    now = clock.now()
    commands = Command.objects.filter(batch=batch)
    commands.update(status="delivered", attempt=1, lease_expires_at=now)
    commands.update(status="failed", finished_at=now, error="unit is missing")
    batches_advance(now=now)

    live = browser_of(operator).get(f"{LIST}{batch.pk}/live/")
    page = text_of(live)
    again = act(operator, batch, "retry")

    assert "unit is missing" in page
    assert "kiosk-0" in page
    assert "data-ended" in page
    assert "Retry the failed" in page
    draft = CommandBatch.objects.get(retry_of=batch)
    assert (draft.status, draft.total, draft.origin) == ("draft", 4, "console")
    assert again.redirect_chain[-1][0] == f"{LIST}{draft.pk}/change/"


def test_pausing_resuming_and_cancelling_by_buttons(operator: Principal, kiosks: list[Device]):
    batch = drafted(operator)
    act(operator, batch, "start")
    batches_advance(now=clock.now())

    for verb, status in (("pause", "paused"), ("resume", "running"), ("cancel", "cancelled")):
        act(operator, batch, verb, reason="a reason", force="1")
        batch.refresh_from_db()
        assert batch.status == status
    assert set(Command.objects.values_list("status", flat=True)) == {"cancelled"}
    assert "this takes one that is" in text_of(act(operator, batch, "pause"))


def test_a_second_person_approves_and_the_maker_is_not_offered_it(
    organization: Organization, kiosks: list[Device]
):
    organization.batch_approval_above = 3
    organization.save()
    maker, second = member(organization, Role.OPERATOR), member(organization, Role.OPERATOR)
    batch = drafted(maker)
    act(maker, batch, "start")

    own = text_of(browser_of(maker).get(f"{LIST}{batch.pk}/change/"))
    refused = text_of(act(maker, batch, "approve", reason="mine"))
    other = text_of(browser_of(second).get(f"{LIST}{batch.pk}/change/"))
    act(second, batch, "approve", reason="checked")

    assert "You made it" in own
    assert "Approve…" not in own
    assert "ask another operator or admin" in refused
    assert "Approve…" in other
    batch.refresh_from_db()
    assert (batch.status, batch.approved_by) == ("scheduled", second.label)


def test_viewers_look_and_touch_nothing(
    viewer: Principal, operator: Principal, kiosks: list[Device]
):
    batch = drafted(operator)
    browser = browser_of(viewer)

    page = text_of(browser.get(f"{LIST}{batch.pk}/change/"))

    assert "Start…" not in page
    assert browser.get(LIST).status_code == 200
    assert browser.get(NEW).status_code == 403
    assert browser.post(f"{LIST}preview/", FORM).status_code == 403
    assert act(viewer, batch, "start").status_code == 403


def test_a_foreign_batch_is_as_good_as_absent(
    stranger: Principal, operator: Principal, kiosks: list[Device]
):
    batch = drafted(operator)
    browser = browser_of(stranger)

    theirs = browser.get(f"{LIST}{batch.pk}/change/")
    absent = browser.get(f"{LIST}{uuid7()}/change/")

    assert (theirs.status_code, theirs.url) == (absent.status_code, absent.url)
    assert browser.get(f"{LIST}{batch.pk}/live/").status_code == 404
    assert batch.name not in text_of(browser.get(LIST))
    act(stranger, batch, "cancel")
    batch.refresh_from_db()
    assert batch.status == "draft"
    assert BatchTarget.objects.filter(batch=batch).count() == 4


def test_retries_and_expectations_are_entered_as_for_a_single_command(
    operator: Principal, kiosks: list[Device]
):
    later = clock.now() + timedelta(hours=3)
    batch = drafted(operator, retry_network="3", retry_failed="1", expect_version="1.0.0",
                    expect_state="healthy", not_before=f"{later:%Y-%m-%dT%H:%M}")  # fmt: skip

    assert batch.options == {
        "priority": 5,
        "expires_in_s": 1800,
        "not_before": later.replace(second=0, microsecond=0).isoformat(),
        "retries": {"network": 3, "failed": 1},
        "expect_version": "1.0.0",
        "expect_state": "healthy",
    }
    page = text_of(browser_of(operator).get(f"{LIST}{batch.pk}/change/"))
    assert "failed 1 time, network 3 times" in page
    act(operator, batch, "start")
    batches_advance(now=later)
    command = Command.objects.filter(batch=batch).latest("pk")
    assert (command.retries, command.expect_version) == ({"network": 3, "failed": 1}, "1.0.0")


def test_a_template_fills_the_form_in_and_leaves_devices_and_waves_as_they_were(
    operator: Principal, kiosks: list[Device]
):
    template = CommandTemplate.objects.create(
        organization=operator.acting_organization(),
        name="Restart the player",
        kind="restart_service",
        payload={"service": "player.service"},
        options={"retries": {"network": 2}, "expect_version": "2.0.0"},
        created_at=clock.now(),
    )
    chosen = {"template": str(template.pk), "use_template": "1", "kind": "ping",
              "way": "devices", "devices": "kiosk-1", "waves": "1, 50 %",
              "end_behavior": "stop"}  # fmt: skip

    answer = browser_of(operator).post(NEW, chosen)

    new = answer.context["new"]
    assert answer.context["kind"] == "restart_service"
    assert new.sheet.form["retry_network"].value() == 2
    assert new.sheet.form["expect_version"].value() == "2.0.0"
    assert new.plan["name"].value() == "Restart the player"
    assert (new.plan["waves"].value(), new.target["devices"].value()) == ("1, 50 %", "kiosk-1")
    assert 'value="player.service"' in text_of(answer)
    assert not CommandBatch.objects.exists()


def test_a_foreign_template_is_no_choice(operator: Principal, stranger: Principal):
    foreign = CommandTemplate.objects.create(
        organization=stranger.acting_organization(),
        name="theirs",
        kind="ping",
        created_at=clock.now(),
    )

    answer = browser_of(operator).post(
        NEW, {**FORM, "template": str(foreign.pk), "use_template": "1"}
    )

    assert answer.context["new"].sheet.form.errors["template"]
    assert "theirs" not in text_of(answer)
