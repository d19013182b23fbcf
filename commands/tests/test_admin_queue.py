from datetime import timedelta
from typing import Any

import pytest

from accounts.models import Organization
from accounts.principals import Principal
from audit.models import AuditEntry
from commands.models import Command, CommandTemplate, Script
from commands.services import library
from common import clock
from common.ids import uuid7
from console.tests.browsers import browser_of, text_of
from devices.models import Device
from devices.tests.factories import DeviceFactory

QUEUE = "/admin/commands/command/queue/"
RESTART = {
    "confirmed": "1",
    "kind": "restart_service",
    "restart_service-service": "player.service",
    "expires_in_min": "30",
}
GREET = {
    "properties": {
        "name": {"type": "string", "title": "Whom to greet"},
        "times": {"type": "integer", "minimum": 1},
        "loud": {"type": "boolean"},
        "tone": {"type": "string", "enum": ["warm", "cold"]},
    },
    "required": ["name"],
}


def sent(device: Device, **fields: str) -> dict[str, str]:
    return {**RESTART, "devices": device.pk.hex, **fields}


@pytest.fixture
def script(organization: Organization, admin: Principal) -> Script:
    return library.script_create(
        organization=organization,
        name="greet",
        text=library.ScriptText(body="echo hello", arguments_schema=GREET),
        actor=admin,
        now=clock.now(),
    )


def template_of(principal: Principal, **values: Any) -> CommandTemplate:
    defaults = {
        "name": "Nightly restart",
        "kind": "restart_service",
        "payload": {"service": "kiosk.service"},
        "options": {"priority": 50, "retries": {"network": 3}, "expires_in_s": 600},
    }
    return library.template_create(
        organization=principal.acting_organization(),
        values={**defaults, **values},
        actor=principal,
        now=clock.now(),
    )


def test_every_option_reaches_the_command(operator: Principal, device: Device):
    later = clock.now() + timedelta(days=1)
    more = {
        "urgency": "urgent",
        "not_before": f"{later:%Y-%m-%dT%H:%M}",
        "run_timeout_min": "15",
        "retry_network": "3",
        "retry_failed": "1",
        "retry_backoff_s": "20",
        "expect_version": "2.4.1",
        "expect_state": "healthy",
        "on_mismatch": "wait",
        "reconnect": "ask",
        "reconnect_after_h": "6",
    }

    browser_of(operator).post(QUEUE, sent(device, **more))

    command = Command.objects.get()
    assert (command.priority, command.run_timeout_s, command.retry_backoff_s) == (100, 900, 20)
    assert command.retries == {"network": 3, "failed": 1}
    assert (command.expect_version, command.expect_state) == ("2.4.1", "healthy")
    assert (command.on_mismatch, command.reconnect) == ("wait", "ask")
    assert command.reconnect_after_s == 6 * 3_600
    assert command.not_before == later.replace(second=0, microsecond=0)


def test_a_number_goes_before_the_class(operator: Principal, device: Device):
    browser_of(operator).post(QUEUE, sent(device, urgency="low", priority="7"))

    assert Command.objects.get().priority == 7


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("not_before", "2999-01-01T00:00", "days ahead"),
        ("retry_network", "11", "less than or equal to 10"),
        ("expect_state", "on fire", "Select a valid choice"),
        ("priority", "101", "less than or equal to 100"),
    ],
)
def test_an_option_that_does_not_fit_is_shown_open_at_its_field(
    operator: Principal, device: Device, field: str, value: str, said: str
):
    page = text_of(browser_of(operator).post(QUEUE, sent(device, **{field: value})))

    assert said in page
    assert '<details class="fp-card fp-more" open>' in page
    assert not Command.objects.exists()


def test_a_form_that_is_sent_twice_queues_once(operator: Principal, device: Device):
    browser = browser_of(operator)
    page = browser.get(f"{QUEUE}?devices={device.pk}").content.decode()
    nonce = page.split('name="sent_once" value="')[1].split('"')[0]

    first = browser.post(QUEUE, sent(device, sent_once=nonce))
    second = browser.post(QUEUE, sent(device, sent_once=nonce))

    assert Command.objects.count() == 1
    assert first.url == second.url
    assert "it was not carried out again" in text_of(browser.get(second.url))


def test_for_many_devices_the_second_form_leads_to_the_list(
    operator: Principal, organization: Organization, device: Device
):
    other = DeviceFactory(organization=organization)
    form = sent(device, sent_once="a nonce", devices=f"{device.pk.hex},{other.pk.hex}")
    browser = browser_of(operator)

    first, second = browser.post(QUEUE, form), browser.post(QUEUE, form)

    assert first.status_code == 200
    assert second.url == "/admin/commands/command/"
    assert Command.objects.count() == 2


def test_a_form_that_was_changed_after_going_back_counts_again(operator: Principal, device: Device):
    browser = browser_of(operator)

    browser.post(QUEUE, sent(device, sent_once="a nonce"))
    browser.post(QUEUE, sent(device, sent_once="a nonce", **{"restart_service-service": "b"}))

    services = {command.payload["service"] for command in Command.objects.all()}
    assert services == {"player.service", "b"}


def test_a_refused_form_may_be_sent_again(operator: Principal, device: Device, script: Script):
    browser = browser_of(operator)
    form = sent(device, sent_once="a nonce", kind="run_script", **{"run_script-script": "greet"})
    whole = {**form, "run_script-greet.name": "Ada"}

    refused = browser.post(QUEUE, form)
    browser.post(QUEUE, whole)

    assert "This field is required" in text_of(refused)
    assert 'value="a nonce"' in text_of(refused)
    assert Command.objects.count() == 1


def test_a_stored_script_is_chosen_and_its_arguments_have_fields(
    operator: Principal, device: Device, script: Script
):
    browser = browser_of(operator)

    page = text_of(browser.get(f"{QUEUE}?devices={device.pk}"))
    browser.post(
        QUEUE,
        sent(
            device,
            kind="run_script",
            **{
                "run_script-script": "greet",
                "run_script-greet.name": "Ada",
                "run_script-greet.times": "2",
                "run_script-greet.loud": "true",
                "run_script-greet.tone": "warm",
            },
        ),
    )

    assert "Whom to greet" in page
    arguments = {"name": "Ada", "times": 2, "loud": True, "tone": "warm"}
    assert Command.objects.get().payload == {
        "script": "greet",
        "version": 1,
        "arguments": arguments,
    }


def test_arguments_left_empty_are_not_sent(operator: Principal, device: Device, script: Script):
    fields = {"run_script-script": "greet", "run_script-greet.name": "Ada"}

    browser_of(operator).post(QUEUE, sent(device, kind="run_script", **fields))

    assert Command.objects.get().payload["arguments"] == {"name": "Ada"}


def test_scripts_of_others_and_withdrawn_ones_are_not_offered(
    operator: Principal, admin: Principal, stranger: Principal, device: Device, script: Script
):
    library.script_create(
        organization=stranger.acting_organization(),
        name="theirs",
        text=library.ScriptText(body="echo"),
        actor=stranger,
        now=clock.now(),
    )
    library.script_withdraw(script=script, actor=admin, now=clock.now())
    browser = browser_of(operator)

    page = text_of(browser.get(f"{QUEUE}?devices={device.pk}"))
    refusals = [
        text_of(browser.post(QUEUE, sent(device, kind="run_script", **{"run_script-script": name})))
        for name in ("greet", "theirs")
    ]

    assert "theirs" not in page
    assert "No script is stored yet" in page
    assert all("Select a valid choice" in refusal for refusal in refusals) or all(
        "No script is stored yet" in refusal for refusal in refusals
    )
    assert not Command.objects.exists()


def test_a_template_fills_the_page_in(operator: Principal, device: Device):
    template = template_of(operator)

    page = text_of(
        browser_of(operator).post(
            QUEUE, sent(device, use_template="1", template=str(template.pk), kind="reboot")
        )
    )

    assert 'value="kiosk.service"' in page
    assert '<option value="high" selected>' in page
    assert 'name="expires_in_min" value="10"' in page
    assert 'name="retry_network" value="3"' in page
    assert not Command.objects.exists()


def test_a_template_of_a_script_fills_its_arguments_in(
    operator: Principal, device: Device, script: Script
):
    template = template_of(
        operator,
        kind="run_script",
        payload={"script": "greet", "arguments": {"name": "Ada", "loud": False}},
        options={},
    )

    page = text_of(
        browser_of(operator).post(QUEUE, sent(device, use_template="1", template=str(template.pk)))
    )

    assert 'value="Ada"' in page
    assert '<option value="false" selected>' in page


def test_templates_of_others_are_as_good_as_absent(
    operator: Principal, stranger: Principal, device: Device
):
    theirs = template_of(stranger, name="Theirs")
    browser = browser_of(operator)

    pages = [
        text_of(browser.post(QUEUE, sent(device, use_template="1", template=str(pk))))
        for pk in (theirs.pk, uuid7())
    ]

    assert all("kiosk.service" not in page and "Theirs" not in page for page in pages)


def test_the_page_is_saved_as_a_template_and_queues_nothing(operator: Principal, device: Device):
    fields = {"save_template": "1", "new_template": "Restart the player", "urgency": "high"}

    page = text_of(browser_of(operator).post(QUEUE, sent(device, **fields)))

    template = CommandTemplate.objects.get()
    assert (template.name, template.kind) == ("Restart the player", "restart_service")
    assert template.payload == {"service": "player.service"}
    assert template.options == {"priority": 50, "expires_in_s": 1_800}
    assert "Nothing is queued yet" in page
    assert 'value="player.service"' in page
    assert not Command.objects.exists()
    assert AuditEntry.objects.filter(action="command_template.create").count() == 1


@pytest.mark.parametrize(
    ("name", "said"), [("", "Give it a name"), ("Taken", "Choose another name")]
)
def test_a_template_needs_a_name_of_its_own(
    operator: Principal, device: Device, name: str, said: str
):
    template_of(operator, name="Taken")

    page = text_of(
        browser_of(operator).post(QUEUE, sent(device, save_template="1", new_template=name))
    )

    assert said in page
    assert CommandTemplate.objects.count() == 1
