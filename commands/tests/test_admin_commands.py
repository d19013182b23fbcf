from datetime import timedelta

import pytest

from accounts.models import Organization
from accounts.policy import Role
from accounts.principals import Principal
from accounts.tests.factories import member
from audit.models import AuditEntry
from commands.models import Command, SupportBundle
from commands.tests.bundles import bundle_command, kept_bundle
from commands.tests.factories import CommandFactory
from common import clock
from common.ids import uuid7
from console.tests.browsers import browser_of, text_of
from devices.models import Device
from devices.services.groups import group_grant
from devices.tests.factories import DeviceFactory, group_of

LIST = "/admin/commands/command/"
QUEUE = f"{LIST}queue/"
RESTART = {
    "confirmed": "1",
    "kind": "restart_service",
    "restart_service-service": "player.service",
    "priority": "5",
    "expires_in_min": "30",
}


def chosen(*devices: Device) -> str:
    return ",".join(str(device.pk) for device in devices)


@pytest.fixture
def foreign(other_organization: Organization) -> Device:
    return DeviceFactory(organization=other_organization, device_id="globex-1")


def test_an_operator_queues_a_command_for_one_device(operator: Principal, device: Device):
    answer = browser_of(operator).post(QUEUE, {**RESTART, "devices": chosen(device)})

    command = Command.objects.get()
    assert answer.url == f"{LIST}{command.pk}/change/"
    assert (command.kind, command.payload) == ("restart_service", {"service": "player.service"})
    assert command.priority == 5
    assert command.expires_at - command.created_at == timedelta(minutes=30)
    assert command.created_by == operator.label
    assert AuditEntry.objects.filter(action="command.queue").count() == 1


def test_the_page_asks_for_the_fields_of_every_kind(operator: Principal, device: Device):
    page = browser_of(operator).get(f"{QUEUE}?devices={device.pk}").content.decode()

    for name in ("restart_service-service", "reboot-delay_seconds", "bundle-include_logs",
                 "config-changes", "update-version"):  # fmt: skip
        assert f'name="{name}"' in page


def test_many_devices_are_told_and_each_that_is_not_says_why(
    operator: Principal, organization: Organization, device: Device
):
    pending = DeviceFactory(organization=organization, device_id="new-1", lifecycle="pending")
    second = DeviceFactory(organization=organization, device_id="studio-2")

    page = text_of(
        browser_of(operator).post(QUEUE, {**RESTART, "devices": chosen(device, pending, second)})
    )

    assert Command.objects.count() == 2
    assert "2 queued, 1 left out" in page
    assert "is pending: only active devices take commands" in page


def test_the_list_of_devices_leads_to_the_form_with_the_selection_frozen(
    operator: Principal, organization: Organization, device: Device
):
    DeviceFactory(organization=organization, device_id="studio-2")

    page = browser_of(operator).post(
        "/admin/devices/device/",
        {"action": "queue_for_selected", "_selected_action": [device.pk]},
    )

    assert "1 device will be told" in text_of(page)
    assert f'value="{device.pk.hex}"' in page.content.decode()


def test_foreign_devices_in_the_form_are_as_good_as_absent(
    operator: Principal, device: Device, foreign: Device
):
    browser = browser_of(operator)

    browser.post(QUEUE, {**RESTART, "devices": chosen(device, foreign)})
    alone = browser.post(QUEUE, {**RESTART, "devices": chosen(foreign)}, follow=True)
    absent = browser.post(QUEUE, {**RESTART, "devices": str(uuid7())}, follow=True)

    assert [command.device for command in Command.objects.all()] == [device]
    assert "Choose devices first" in text_of(alone)
    assert "Choose devices first" in text_of(absent)


def test_a_limited_operator_tells_granted_devices_only(
    organization: Organization, admin: Principal, device: Device
):
    limited = member(organization, Role.OPERATOR, limited_to_groups=True)
    granted = DeviceFactory(organization=organization, device_id="granted-1")
    group_grant(group=group_of(organization, granted), user=limited.user, actor=admin)

    browser_of(limited).post(QUEUE, {**RESTART, "devices": chosen(device, granted)})

    assert [command.device for command in Command.objects.all()] == [granted]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"restart_service-service": ""}, "This field is required"),
        ({"restart_service-service": "; rm -rf /"}, "does not match"),
        ({"kind": "nonsense"}, "Select a valid choice"),
        ({"expires_in_min": "0"}, "greater than or equal to 1"),
        ({"kind": "reboot", "reboot-delay_seconds": "99999"}, "less than or equal to 3600"),
        ({"kind": "config", "config-changes": "LOG_LEVEL"}, "is not KEY=VALUE"),
        ({"kind": "config", "config-changes": "lower=x"}, "does not match"),
    ],
)
def test_a_command_that_does_not_fit_is_refused_at_its_field(
    operator: Principal, device: Device, change: dict[str, str], said: str
):
    answer = browser_of(operator).post(QUEUE, {**RESTART, **change, "devices": chosen(device)})

    assert said in text_of(answer)
    assert not Command.objects.exists()


@pytest.mark.parametrize(
    ("kind", "fields", "payload"),
    [
        ("reboot", {"reboot-delay_seconds": "0"}, {"delay_seconds": 0}),
        ("reboot", {"reboot-delay_seconds": ""}, {}),
        ("bundle", {"bundle-include_logs": "false"}, {"include_logs": False}),
        ("config", {"config-changes": "A=1\n\n B = x=y "}, {"changes": {"A": "1", "B": "x=y"}}),
    ],
)
def test_fields_become_the_payload_and_empty_ones_are_not_sent(
    operator: Principal,
    device: Device,
    kind: str,
    fields: dict[str, str],
    payload: dict[str, object],
):
    browser_of(operator).post(QUEUE, {**RESTART, "kind": kind, **fields, "devices": chosen(device)})

    assert Command.objects.get().payload == payload


def test_a_viewer_reads_commands_and_neither_queues_nor_cancels(viewer: Principal, device: Device):
    command = CommandFactory(device=device)
    browser = browser_of(viewer)

    assert browser.get(f"{LIST}{command.pk}/change/").status_code == 200
    assert browser.get(f"{QUEUE}?devices={device.pk}").status_code == 403
    assert browser.post(QUEUE, {**RESTART, "devices": chosen(device)}).status_code == 403
    assert browser.post(f"{LIST}{command.pk}/cancel/").status_code == 403
    command.refresh_from_db()
    assert command.status == "queued"


def test_cancelling_is_a_form_and_says_when_it_came_too_late(operator: Principal, device: Device):
    command = CommandFactory(device=device)
    browser = browser_of(operator)

    by_link = browser.get(f"{LIST}{command.pk}/cancel/")
    first = text_of(browser.post(f"{LIST}{command.pk}/cancel/", follow=True))
    second = text_of(browser.post(f"{LIST}{command.pk}/cancel/", follow=True))

    assert by_link.status_code == 403
    assert "The command is cancelled." in first
    assert "has already cancelled" in second
    assert AuditEntry.objects.filter(action="command.cancel").count() == 1


def test_foreign_commands_are_as_good_as_absent(operator: Principal, foreign: Device):
    command = CommandFactory(device=foreign)
    browser = browser_of(operator)

    for verb in ("change", "history"):
        seen = [browser.get(f"{LIST}{pk}/{verb}/") for pk in (command.pk, uuid7())]
        assert [answer.status_code for answer in seen] == [302, 302]
        assert seen[0].url == seen[1].url
    assert browser.get(f"{LIST}{command.pk}/live/").status_code == 404
    assert browser.post(f"{LIST}{command.pk}/cancel/").status_code == 302
    browser.post(LIST, {"action": "cancel_selected", "_selected_action": [command.pk]})
    command.refresh_from_db()
    assert command.status == "queued"


def test_what_a_device_says_is_shown_as_text(viewer: Principal, device: Device):
    now = clock.now()
    command = CommandFactory(
        device=device,
        status="failed",
        finished_at=now,
        output="<script>alert(1)</script>",
        error="<b>no</b>",
    )

    page = browser_of(viewer).get(f"{LIST}{command.pk}/change/").content.decode()

    assert "<script>alert(1)" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "<b>no</b>" not in page


def test_the_page_of_an_ended_command_is_not_fetched_again(viewer: Principal, device: Device):
    waiting = CommandFactory(device=device)
    ended = CommandFactory(device=device, status="succeeded", finished_at=clock.now())
    browser = browser_of(viewer)

    assert "data-ended" not in browser.get(f"{LIST}{waiting.pk}/live/").content.decode()
    assert "data-ended" in browser.get(f"{LIST}{ended.pk}/live/").content.decode()


def test_the_list_costs_the_same_whatever_its_length(
    viewer: Principal, device: Device, django_assert_max_num_queries
):
    for _ in range(40):
        CommandFactory(device=device)
    browser = browser_of(viewer)

    with django_assert_max_num_queries(9):
        browser.get(LIST)


def test_commands_are_filtered_by_several_states(viewer: Principal, device: Device):
    for status in ("failed", "succeeded"):
        CommandFactory(device=device, status=status, finished_at=clock.now())
    CommandFactory(device=device)
    browser = browser_of(viewer)

    found = browser.get(f"{LIST}?status=failed&status=succeeded").context["cl"].result_list

    assert sorted(command.status for command in found) == ["failed", "succeeded"]


@pytest.fixture
def bundle(device: Device, tmp_path, settings) -> SupportBundle:
    settings.MEDIA_ROOT = tmp_path
    return kept_bundle(bundle_command(device=device), {"a.txt": "1\n"})


def test_downloading_a_bundle_is_written_to_the_log(operator: Principal, bundle: SupportBundle):
    answer = browser_of(operator).get(f"/admin/commands/supportbundle/{bundle.pk}/download/")

    assert b"".join(answer.streaming_content).startswith(b"PK")
    assert "attachment" in answer["Content-Disposition"]
    assert AuditEntry.objects.filter(action="bundle.download").count() == 1


def test_bundles_are_neither_the_viewers_nor_a_strangers(
    viewer: Principal, stranger: Principal, bundle: SupportBundle
):
    path = f"/admin/commands/supportbundle/{bundle.pk}/download/"

    assert browser_of(viewer).get(path).status_code == 403
    assert browser_of(stranger).get(path).status_code == 302
    assert not AuditEntry.objects.filter(action="bundle.download").exists()
