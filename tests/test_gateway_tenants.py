"""The gateway's paths keep tenants and roles apart as Django's do."""

import json
import re

import pytest

from accounts.policy import DEVICE, POLICY, Role
from audit.models import AuditEntry
from devices.models import DeviceState, Heartbeat
from gateway import application
from tests.foreign_rows import fingerprint
from tests.gateway_client import GatewayClient
from tests.gateway_routes import GATEWAY, GatewayOperation
from tests.identities import World, key_headers
from tests.world import absent_names, rolled_back

pytestmark = pytest.mark.xdist_group("gateway")

_VOLATILE = re.compile(r"\d{4}-\d\d-\d\d[T ][\d:.]+Z?|\"next_heartbeat_s\":[\d.]+")


def callers_of(world: World) -> dict[str, dict[str, str]]:
    """Return the headers of every kind of caller."""
    people = {name: one.headers for name, one in world.identities.items() if name != "key"}
    keys = {f"{role}_key": key_headers(world.acme, role) for role in Role.values}
    return {**people, **keys, "foreign_key": key_headers(world.globex, Role.ADMIN)}


def test_the_paths_of_the_gateway_are_all_in_the_table():
    """The application's own names of its paths; a new one has to be declared here."""
    known = {
        *(application._HEARTBEAT, application._CLAIM, application._STREAM),
        *(application._STATUS, application._BATCH),
    }
    declared = {operation.path for operation in GATEWAY}

    assert len(GATEWAY) == len(known)
    assert all(any(path.endswith(end) for path in declared) for end in known)


@pytest.mark.parametrize("operation", GATEWAY, ids=lambda one: one.name)
def test_the_table_says_what_the_policy_says(operation: GatewayOperation):
    allowed = {
        DEVICE if name == "device" else name.removesuffix("_key") for name in operation.callers
    }

    assert allowed <= POLICY[operation.action]


@pytest.mark.parametrize("operation", GATEWAY, ids=lambda one: one.name)
def test_each_caller_of_the_gateway_gets_what_the_policy_says(
    kept_world: World, gateway: GatewayClient, operation: GatewayOperation
):
    names = kept_world.acme.names
    entries = AuditEntry.objects.count()
    seen = {}

    for name, headers in callers_of(kept_world).items():
        answer = gateway.send(
            operation.method, operation.url(names), operation.body(names), headers
        )
        seen[name] = answer.status

    takes_keys = "admin_key" in operation.callers
    expected = dict.fromkeys(seen, 401)
    expected |= dict.fromkeys(operation.callers, operation.status)
    if takes_keys:
        expected["viewer_key"] = 403
        # A batch is judged item by item.
        expected["foreign_key"] = 200 if operation.name == "telemetry-batch" else 404
    assert seen == expected
    assert AuditEntry.objects.count() == entries


@pytest.mark.parametrize("operation", GATEWAY, ids=lambda one: one.name)
def test_no_caller_of_the_gateway_reaches_across_organisations(
    kept_world: World, gateway: GatewayClient, operation: GatewayOperation
):
    world = kept_world
    foreign = {
        "device": (world.identities["device"].headers, [world.globex, world.neighbour]),
        "admin_key": (key_headers(world.acme, Role.ADMIN), [world.globex]),
        "foreign_key": (key_headers(world.globex, Role.ADMIN), [world.acme]),
    }

    for headers, others in foreign.values():
        for rows in others:
            before = fingerprint([rows])
            shapes = []
            for names in (rows.names, absent_names(rows.names)):
                answer = gateway.send(
                    operation.method, operation.url(names), operation.body(names), headers
                )
                text = answer.body.decode().replace(names["device_id"], "~")
                assert rows.word not in text
                assert not any(one in text for one in rows.ids)
                shapes.append((answer.status, _VOLATILE.sub("~", text)))
            assert shapes[0] == shapes[1]
            assert fingerprint([rows]) == before


def test_a_foreign_device_in_a_batch_is_rejected_and_its_own_is_kept(
    kept_world: World, gateway: GatewayClient
):
    beat = {"boot_id": "boot-10", "sequence": 1, "version": "10"}
    items = [
        {"device_id": rows.device.device_id, **beat}
        for rows in (kept_world.acme, kept_world.globex)
    ]
    headers = key_headers(kept_world.acme, Role.OPERATOR)

    answer = gateway.post("/api/v1/telemetry/batch", {"heartbeats": items}, headers)

    body = answer.json()
    assert (body["accepted"], body["rejected"]) == (1, 1)
    assert [result["status"] for result in body["results"]] == ["accepted", "rejected"]
    assert Heartbeat.objects.filter(boot_id="boot-10").count() == 1
    with rolled_back():
        state = DeviceState.objects.get(device=kept_world.globex.device)
    assert state.version == "zebra-version"


@pytest.mark.parametrize(
    "method", ["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", "TRACE"]
)
def test_other_methods_are_refused_on_every_path(
    kept_world: World, gateway: GatewayClient, method: str
):
    headers = kept_world.identities["device"].headers

    for operation in GATEWAY:
        if method == operation.method:
            continue
        answer = gateway.request(method, operation.url(kept_world.acme.names), b"", headers)

        assert answer.status == 405
        assert answer.headers["allow"] == operation.method
        assert json.loads(answer.body)["code"] == "method_not_allowed"
