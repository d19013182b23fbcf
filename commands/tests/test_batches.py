"""Batches: who takes part, the frozen list, and who may see it."""

from datetime import timedelta
from typing import Any

import pytest
from rest_framework.test import APIClient

from accounts.models import Organization
from accounts.policy import Role
from accounts.principals import Principal
from accounts.tests.clients import api_of
from accounts.tests.factories import member
from audit.models import AuditEntry
from commands.models import Command, CommandBatch, CommandTemplate
from commands.tasks import batches_advance
from commands.tests.batch_calls import (
    PING,
    URL,
    actions,
    finish,
    fleet,
    ids,
    made,
    read,
)
from commands.tests.factories import CommandFactory
from common import clock, limits
from devices.models import Device
from devices.services.groups import group_grant
from devices.tests.factories import DeviceFactory, group_of

# --- who takes part ---


def test_a_preview_counts_and_says_why_each_other_device_is_left_out(
    operator_api: APIClient, organization: Organization, other_organization: Organization
):
    good = fleet(organization, 2)
    DeviceFactory(organization=organization, device_id="old", lifecycle="retired",
                  retired_at=clock.now())  # fmt: skip
    DeviceFactory(organization=organization, device_id="new", lifecycle="pending")
    DeviceFactory(organization=organization, device_id="odd", lifecycle="quarantined")
    DeviceFactory(organization=organization, device_id="busy", maintenance_mode=True)
    full = DeviceFactory(organization=organization, device_id="full")
    CommandFactory.create_batch(limits.COMMANDS_PER_DEVICE, device=full)
    DeviceFactory(organization=other_organization, device_id="foreign")
    names = [*ids(good), "d-000", "old", "new", "odd", "busy", "full", "foreign", "absent"]

    answer = operator_api.post(f"{URL}/preview", {"selection": {"devices": names}})

    body = answer.json()
    assert (body["count"], body["devices"], body["by_wave"]) == (2, ids(good), [2])
    reasons = {one["device_id"]: one["reason"] for one in body["skipped"]}
    assert reasons == {
        "old": "is retired",
        "new": "is pending: accept it first",
        "odd": "is quarantined: command it by itself",
        "busy": "is in maintenance",
        "full": "holds 100 open commands already",
        "foreign": "is not a device you see",
        "absent": "is not a device you see",
        "d-000": "is in the list more than once: it gets the command once",
    }
    assert not Command.objects.exclude(device=full).exists()
    assert not CommandBatch.objects.exists()


@pytest.mark.parametrize(
    "selection",
    [
        {"group": "kiosks"},
        {"tags": ["red", "lobby"]},
        {"filter": {"role": "till", "status": ["healthy"], "maintenance_mode": False}},
        {"filter": {"tag": "lobby", "status": "healthy"}},
    ],
)
def test_devices_are_chosen_by_group_tags_or_filter(
    operator_api: APIClient, organization: Organization, selection: dict[str, Any]
):
    wanted = DeviceFactory(organization=organization, device_id="wanted", role="till",
                           tags=["lobby", "red"], state__health="healthy")  # fmt: skip
    DeviceFactory(organization=organization, device_id="other", tags=["red"])
    group_of(organization, wanted, name="kiosks")

    body = operator_api.post(f"{URL}/preview", {"selection": selection}).json()

    assert body["devices"] == ["wanted"]


@pytest.mark.parametrize(
    "selection",
    [
        {},
        {"devices": []},
        {"devices": ["d-000"], "tags": ["a"]},
        {"devices": ["d-000"], "everything": True},
        {"everything": True},
        {"group": "none such"},
        {"filter": {"colour": "red"}},
        {"filter": {"status": "purple"}},
        {"filter": {"status": {"a": 1}}},
        {"filter": {"seen_after": "yesterday"}},
        {"devices": "d-000"},
        None,
    ],
)
def test_a_selection_that_says_nothing_clear_is_refused(
    operator_api: APIClient, organization: Organization, selection: Any
):
    fleet(organization, 1)

    answer = operator_api.post(URL, {**PING, "selection": selection})

    assert answer.status_code in (400, 422), answer.json()
    assert not CommandBatch.objects.exists()


def test_a_batch_without_a_device_is_refused_with_the_reason(
    operator_api: APIClient, organization: Organization
):
    devices = fleet(organization, 2, maintenance_mode=True)

    answer = operator_api.post(URL, {**PING, "selection": {"devices": ids(devices)}})

    assert (answer.status_code, answer.json()["code"]) == (422, "batch_empty")
    assert "d-000 is in maintenance, and 1 more" in answer.json()["detail"]


def test_a_limited_person_reaches_granted_devices_only(
    organization: Organization, admin: Principal, operator_api: APIClient
):
    devices = fleet(organization, 3)
    limited = member(organization, Role.OPERATOR, limited_to_groups=True)
    group_grant(group=group_of(organization, devices[0]), user=limited.user, actor=admin)
    api = api_of(limited)

    preview = api.post(f"{URL}/preview", {"selection": {"filter": {}}}).json()
    whole = made(operator_api, devices)
    seen = read(api, whole)

    assert preview["devices"] == ["d-000"]
    assert seen["progress"]["total"] == 1
    assert (seen["selection"], seen["unmatched"]) == (None, None)
    assert len(api.get(f"{URL}/{whole['id']}/targets").json()["results"]) == 1
    assert api.post(f"{URL}/{whole['id']}/cancel", {}).status_code == 403


def test_a_batch_of_others_devices_is_absent_for_a_limited_person(
    organization: Organization, admin: Principal, operator_api: APIClient
):
    devices = fleet(organization, 2)
    limited = member(organization, Role.OPERATOR, limited_to_groups=True)
    group_grant(group=group_of(organization, devices[0]), user=limited.user, actor=admin)

    batch = made(operator_api, devices[1:])

    assert api_of(limited).get(f"{URL}/{batch['id']}").status_code == 404
    assert api_of(limited).get(URL).json()["results"] == []


# --- the frozen list ---


def test_the_answer_comes_before_anything_is_sent_and_the_sweep_sends(
    operator_api: APIClient, organization: Organization
):
    devices = fleet(organization, 3)
    payload = {"delay_seconds": 5}
    options = {"priority": "high", "retries": {"network": 2}, "expires_in_s": 600}

    batch = made(operator_api, devices, type="reboot", payload=payload, options=options)
    assert not Command.objects.exists()
    assert batch["status"] == "scheduled"
    assert batch["progress"]["by_status"]["waiting"] == 3
    batches_advance()

    commands = list(Command.objects.all())
    assert {command.device_id for command in commands} == {device.pk for device in devices}
    for command in commands:
        assert (command.kind, command.payload, command.priority) == ("reboot", payload, 50)
        assert command.retries == {"network": 2}
        assert command.expires_at - command.created_at == timedelta(seconds=600)
        assert command.disruptive
        assert command.sequence == 1
        assert str(command.batch_id) == batch["id"]
    assert read(operator_api, batch)["status"] == "running"
    assert actions() == ["batch.create", "batch.start", "batch.wave"]
    assert not AuditEntry.objects.filter(action="command.queue").exists()


def test_devices_that_come_later_do_not_join(operator_api: APIClient, organization: Organization):
    fleet(organization, 2)
    batch = operator_api.post(URL, {**PING, "selection": {"filter": {"role": "kiosk"}}}).json()
    DeviceFactory(organization=organization, device_id="late")

    batches_advance()

    assert Command.objects.count() == 2
    assert read(operator_api, batch)["total"] == 2


def test_the_sweep_may_run_as_often_as_it_likes(
    operator_api: APIClient, organization: Organization
):
    made(operator_api, fleet(organization, 3))

    for _ in range(3):
        batches_advance()

    assert Command.objects.count() == 3


def test_a_device_that_changed_since_is_left_out_when_its_wave_goes_out(
    operator_api: APIClient, organization: Organization
):
    devices = fleet(organization, 3)
    batch = made(operator_api, devices)
    Device.objects.filter(pk=devices[0].pk).update(lifecycle="retired", retired_at=clock.now())
    Device.objects.filter(pk=devices[1].pk).update(maintenance_mode=True)

    batches_advance()

    assert [command.device_id for command in Command.objects.all()] == [devices[2].pk]
    seen = read(operator_api, batch)
    assert {(one["reason"], one["count"]) for one in seen["skipped"]} == {
        ("is retired", 1),
        ("is in maintenance", 1),
    }


def test_a_command_that_does_not_fit_is_refused_before_anything_is_made(
    operator_api: APIClient, organization: Organization
):
    selection = {"devices": ids(fleet(organization, 1))}

    payload = {"delay_seconds": "soon"}
    unfit = operator_api.post(
        URL, {"name": "x", "type": "reboot", "payload": payload, "selection": selection}
    )
    unknown = operator_api.post(URL, {"name": "x", "type": "dance", "selection": selection})
    none = operator_api.post(URL, {"name": "x", "selection": selection})

    assert (unfit.status_code, unfit.json()["code"]) == (422, "payload_refused")
    assert (unknown.status_code, unknown.json()["code"]) == (422, "unknown_command_type")
    assert none.status_code in (400, 422)
    assert not CommandBatch.objects.exists()


def test_a_batch_ends_when_every_command_has(operator_api: APIClient, organization: Organization):
    batch = made(operator_api, fleet(organization, 3))
    batches_advance()
    finish("succeeded", 2)
    batches_advance()
    assert read(operator_api, batch)["status"] == "running"
    finish("failed", 1, error="no")
    batches_advance()

    seen = read(operator_api, batch)
    assert (seen["status"], seen["progress"]["ended"]) == ("completed", 3)
    assert seen["finished_at"]
    assert actions()[-1] == "batch.complete"


# --- rights and lists ---


def test_viewers_read_and_nothing_else(
    viewer_api: APIClient, operator_api: APIClient, organization: Organization
):
    devices = fleet(organization, 1)
    batch = made(operator_api, devices)

    assert viewer_api.get(URL).json()["results"][0]["id"] == batch["id"]
    assert viewer_api.get(f"{URL}/{batch['id']}").status_code == 200
    body = {**PING, "selection": {"devices": ids(devices)}}
    assert viewer_api.post(URL, body).status_code == 403
    assert viewer_api.post(f"{URL}/preview", body).status_code == 403
    for verb in ("start", "approve", "pause", "resume", "cancel", "retry-failed"):
        answer = viewer_api.post(f"{URL}/{batch['id']}/{verb}", {"reason": "x"})
        assert answer.status_code == 403


def test_a_foreign_batch_is_as_good_as_absent(
    stranger_api: APIClient, operator_api: APIClient, organization: Organization
):
    batch = made(operator_api, fleet(organization, 1))

    assert stranger_api.get(f"{URL}/{batch['id']}").status_code == 404
    assert stranger_api.get(f"{URL}/{batch['id']}/targets").status_code == 404
    assert stranger_api.post(f"{URL}/{batch['id']}/cancel", {}).status_code == 404
    assert stranger_api.get(URL).json()["results"] == []


def test_targets_are_listed_by_wave_and_status(operator_api: APIClient, organization: Organization):
    devices = [*fleet(organization, 4), DeviceFactory(organization=organization,
               device_id="busy", maintenance_mode=True)]  # fmt: skip
    batch = made(operator_api, devices, waves=[{"size": 1}], wave_pause_s=60)
    batches_advance()
    finish("failed", 1, error="no", error_code="disk")
    url = f"{URL}/{batch['id']}/targets"

    def results(query: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = operator_api.get(f"{url}?{query}").json()["results"]
        return found

    assert len(results("")) == 5
    assert len(results("wave=1")) == 3
    assert [one["status"] for one in results("status=failed&status=skipped")] == [
        "failed",
        "skipped",
    ]
    assert [one["error_code"] for one in results("wave=0")] == ["disk"]
    assert [one["device_id"] for one in results("skipped=true")] == ["busy"]
    assert len(results("status=waiting")) == 3
    assert len(results("skipped=false&page_size=2")) == 2


def test_the_same_request_sent_twice_makes_one_batch(
    operator_api: APIClient, organization: Organization
):
    body = {**PING, "selection": {"devices": ids(fleet(organization, 1))}}

    answers = [
        operator_api.post(URL, body, headers={"Idempotency-Key": "a key of this test"})
        for _ in range(2)
    ]

    assert [answer.status_code for answer in answers] == [201, 201]
    assert answers[0].json()["id"] == answers[1].json()["id"]
    assert CommandBatch.objects.count() == 1


def test_a_template_fills_in_what_is_not_sent(operator_api: APIClient, organization: Organization):
    template = CommandTemplate.objects.create(
        organization=organization,
        name="slow reboot",
        kind="reboot",
        payload={"delay_seconds": 60},
        options={"priority": 7},
        created_at=clock.now(),
    )
    body = {"name": "by template", "template": str(template.pk), "options": {"expires_in_s": 60},
            "selection": {"devices": ids(fleet(organization, 1))}}  # fmt: skip

    batch = operator_api.post(URL, body).json()

    assert (batch["type"], batch["payload"]) == ("reboot", {"delay_seconds": 60})
    assert batch["options"] == {"priority": 7, "expires_in_s": 60}
