"""Stored scripts and templates in the console."""

import pytest
from django.test import Client
from django.urls import reverse

from accounts.tests.factories import member
from commands.models import Command, CommandTemplate, Script, ScriptVersion
from commands.tests.factories import CommandFactory
from commands.tests.library import stored_script

ADD = "/admin/commands/script/add/"
TEXT = {
    "interpreter": "sh",
    "body": "echo hi\r\n",
    "arguments_schema": "",
    "timeout_s": "30",
    "output_bytes": "2048",
}


def browser(organization, role="admin"):
    client = Client()
    client.force_login(member(organization, role).user, "accounts.backends.PortalBackend")
    return client


@pytest.fixture
def page(organization):
    return browser(organization)


def change_url(row):
    return reverse(f"admin:commands_{row._meta.model_name}_change", args=[row.pk])


def test_a_script_is_stored_and_signed_in_the_browser(page, organization):
    sent = page.post(ADD, {"name": "greet", "description": "says hi", **TEXT})

    assert sent.status_code == 302, sent.content.decode()
    version = ScriptVersion.objects.get(script__name="greet", organization=organization)
    assert (version.number, version.body, version.timeout_s) == (1, "echo hi\n", 30)
    assert version.signature


def test_another_text_is_a_new_version_and_the_same_one_is_none(page, organization):
    script = stored_script(organization)
    version = script.versions.get()
    kept = {
        **TEXT,
        "arguments_schema": '{"type": "object", "properties": {}, "required": [],'
        ' "additionalProperties": false}',
        "timeout_s": version.timeout_s,
        "output_bytes": version.output_bytes,
    }

    page.post(change_url(script), {"description": "d", **kept})
    assert script.versions.count() == 1
    page.post(change_url(script), {"description": "d", **kept, "body": "echo you\r\n"})

    assert [one.body for one in script.versions.order_by("number")] == ["echo hi\n", "echo you\n"]
    assert Script.objects.get().description == "d"
    shown = page.get(change_url(script)).content.decode()
    assert "echo hi" in shown
    assert "echo you" in shown


def test_a_refused_form_keeps_what_was_typed_and_says_why(page, organization):
    stored_script(organization)

    refused = page.post(ADD, {"name": "greet", "description": "typed long", **TEXT})
    content = refused.content.decode()

    assert refused.status_code == 200
    assert "There is a script greet already" in content or "exists already" in content
    assert "typed long" in content
    assert "echo hi" in content


def test_a_domain_refusal_keeps_what_was_typed(page):
    broken = '{"properties": {"a": {"type": "string", "pattern": "x"}}}'

    refused = page.post(
        ADD, {"name": "greet", "description": "", **TEXT, "arguments_schema": broken}
    )
    content = refused.content.decode()

    assert refused.status_code == 200
    assert "arguments_schema" in content
    assert "echo hi" in content
    assert not Script.objects.exists()


def test_viewers_read_scripts_and_write_none(organization):
    script = stored_script(organization)
    page = browser(organization, "viewer")

    assert "echo hi" in page.get(change_url(script)).content.decode()
    assert page.post(change_url(script), {"description": "x", **TEXT}).status_code == 403
    assert page.get(ADD).status_code == 403


def test_withdrawing_in_the_list_cancels_what_waits(page, organization, device):
    script = stored_script(organization)
    run = CommandFactory(
        device=device, kind="run_script", payload={"script": "greet", "version": 1, "arguments": {}}
    )

    page.post(
        "/admin/commands/script/",
        {"action": "withdraw_selected", "_selected_action": [str(script.pk)]},
    )

    assert Script.objects.get().withdrawn_at is not None
    assert Command.objects.get(pk=run.pk).status == "cancelled"
    assert page.get(change_url(script)).status_code == 200


def test_a_template_is_saved_changed_and_deleted(organization):
    page = browser(organization, "operator")
    sent = {"name": "web", "description": "", "kind": "restart_service"}

    refused = page.post("/admin/commands/commandtemplate/add/", {**sent, "payload": "{}"})
    assert "service" in refused.content.decode()
    page.post("/admin/commands/commandtemplate/add/", {**sent, "payload": '{"service": "nginx"}'})
    template = CommandTemplate.objects.get()
    page.post(change_url(template), {**sent, "name": "w", "payload": '{"service": "nginx"}'})

    assert CommandTemplate.objects.get().name == "w"
    page.post(f"/admin/commands/commandtemplate/{template.pk}/delete/", {"post": "yes"})
    assert not CommandTemplate.objects.exists()
