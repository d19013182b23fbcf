"""A request that is sent twice acts once."""

import random
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.test import override_settings
from rest_framework.test import APIClient

from accounts.api.base import PortalView
from accounts.models import ApiKey
from accounts.tests.clients import api_of
from accounts.tests.factories import api_key, member
from audit.models import AuditEntry
from commands.models import Command
from common import clock, idempotency
from common.models import IdempotencyKey
from devices.tests.factories import DeviceFactory
from tests.routes import found_routes

KEYS_URL = "/api/v1/api-keys"
KEY_BODY = {"name": "ci", "role": "operator"}


def keyed(key: str) -> dict[str, Any]:
    return {"headers": {"Idempotency-Key": key}}


def test_the_same_request_again_gets_the_same_answer_and_acts_once(admin_api):
    first = admin_api.post(KEYS_URL, KEY_BODY, **keyed("one"))
    again = admin_api.post(KEYS_URL, KEY_BODY, **keyed("one"))

    assert first.status_code == again.status_code == 201
    assert again.content == first.content
    assert again["Content-Type"] == first["Content-Type"]
    assert "Idempotent-Replayed" not in first
    assert again["Idempotent-Replayed"] == "true"
    assert ApiKey.objects.count() == 1
    assert AuditEntry.objects.filter(action="api_key.issue").count() == 1


def test_an_answer_without_a_body_is_given_again(admin_api, organization):
    key, _ = api_key(organization)
    url = f"{KEYS_URL}/{key.id}"

    first = admin_api.delete(url, **keyed("gone"))
    again = admin_api.delete(url, **keyed("gone"))

    assert first.status_code == again.status_code == 204
    assert again.content == b""


@pytest.mark.parametrize(
    "other",
    [
        lambda api: api.post(KEYS_URL, {**KEY_BODY, "name": "other"}, **keyed("one")),
        lambda api: api.post(f"{KEYS_URL}?x=1", KEY_BODY, **keyed("one")),
        lambda api: api.patch("/api/v1/organizations/acme", KEY_BODY, **keyed("one")),
    ],
    ids=["body", "path", "method"],
)
def test_a_key_is_good_for_one_request(admin_api, other):
    admin_api.post(KEYS_URL, KEY_BODY, **keyed("one"))

    refused = other(admin_api)

    assert refused.status_code == 422
    assert refused.json()["code"] == "idempotency_key_reused"
    assert ApiKey.objects.count() == 1


def test_a_key_is_good_for_one_caller(admin_api, organization):
    admin_api.post(KEYS_URL, KEY_BODY, **keyed("one"))

    refused = api_of(member(organization, "admin")).post(KEYS_URL, KEY_BODY, **keyed("one"))

    assert refused.json()["code"] == "idempotency_key_reused"


def test_organisations_do_not_share_keys(admin_api, stranger_api):
    mine = admin_api.post(KEYS_URL, KEY_BODY, **keyed("one"))
    theirs = stranger_api.post(KEYS_URL, KEY_BODY, **keyed("one"))

    assert theirs.status_code == 201
    assert theirs.json()["key"] != mine.json()["key"]


def test_a_refusal_is_not_kept(admin_api):
    refused = admin_api.post(KEYS_URL, {"name": "ci"}, **keyed("one"))
    assert refused.status_code == 422

    assert admin_api.post(KEYS_URL, KEY_BODY, **keyed("one")).status_code == 201


def test_who_may_not_act_does_not_learn_of_a_key(admin_api, viewer_api, anonymous_api):
    admin_api.post(KEYS_URL, KEY_BODY, **keyed("one"))

    assert viewer_api.post(KEYS_URL, KEY_BODY, **keyed("one")).status_code == 403
    assert anonymous_api.post(KEYS_URL, KEY_BODY, **keyed("one")).status_code == 401
    assert IdempotencyKey.objects.count() == 1


def test_neither_the_secret_nor_the_key_can_be_read_in_the_table(admin_api):
    secret = admin_api.post(KEYS_URL, KEY_BODY, **keyed("a-key-of-mine")).json()["key"]

    with connection.cursor() as cursor:
        cursor.execute("SELECT k::text, encode(answer, 'escape') FROM common_idempotencykey k")
        whole = " ".join(cursor.fetchone())
    row = IdempotencyKey.objects.get()
    for hidden in (secret, "a-key-of-mine"):
        assert hidden.encode() not in bytes(row.answer) + bytes(row.key_sha256)
        assert hidden not in whole


def test_a_new_server_key_makes_old_answers_unreadable_and_the_old_one_helps(admin_api, settings):
    admin_api.post(KEYS_URL, KEY_BODY, **keyed("one"))
    old = settings.SECRET_KEY

    with override_settings(SECRET_KEY="another"):
        lost = admin_api.post(KEYS_URL, KEY_BODY, **keyed("one"))
    with override_settings(SECRET_KEY="another", SECRET_KEY_FALLBACKS=[old]):
        found = admin_api.post(KEYS_URL, KEY_BODY, **keyed("one"))

    assert (lost.status_code, lost.json()["code"]) == (409, "idempotency_answer_lost")
    assert found.status_code == 201


@pytest.mark.parametrize("key", ["", "x" * 256, "zwölf", "a\tb"])
def test_a_key_that_is_none_is_refused(admin_api, key):
    refused = admin_api.post(KEYS_URL, KEY_BODY, **keyed(key))

    assert refused.status_code == 422
    assert "Idempotency-Key" in refused.json()["errors"]


def test_a_key_on_a_read_is_passed_over(admin_api):
    assert admin_api.get(KEYS_URL, **keyed("one")).status_code == 200
    assert not IdempotencyKey.objects.exists()


def test_a_device_needs_no_key(device, device_api):
    sent = device_api.post(f"/api/v1/devices/{device.device_id}/token/rotate", {}, **keyed("one"))

    assert sent.status_code == 200
    assert not IdempotencyKey.objects.exists()


@pytest.mark.parametrize("kind", ["multipart/form-data; boundary=x", "text/plain"])
def test_a_body_that_is_not_read_here_is_refused_by_its_type(admin_api, kind):
    refused = admin_api.generic("POST", KEYS_URL, b"\x00\xff", content_type=kind, **keyed("one"))

    assert refused.status_code == 415


def test_a_body_beyond_the_cap_is_refused(admin_api):
    body = b'{"name": "' + b"x" * (3 * 1024 * 1024) + b'"}'

    refused = admin_api.generic(
        "POST", KEYS_URL, body, content_type="application/json", **keyed("one")
    )

    assert refused.status_code == 413


def test_what_is_rolled_back_leaves_no_key(organization, admin):
    asked = idempotency.Asked(
        key="crash",
        organization_id=organization.pk,
        caller=f"user {admin.id}",
        method="POST",
        path="/x",
        body=b"",
    )
    with transaction.atomic():
        assert idempotency.begin(asked) is None
        idempotency.finish(asked, idempotency.Answer(status=201, body=b"made"))
        transaction.set_rollback(True)

    assert idempotency.begin(asked) is None


def test_old_answers_are_forgotten(admin_api):
    admin_api.post(KEYS_URL, KEY_BODY, **keyed("old"))
    admin_api.post(KEYS_URL, KEY_BODY, **keyed("new"))
    now = clock.now()
    first = IdempotencyKey.objects.earliest("pk")
    IdempotencyKey.objects.filter(pk=first.pk).update(created_at=now - idempotency.KEPT * 1.01)

    assert idempotency.idempotency_tidy(now=now) == 1
    assert idempotency.idempotency_tidy(now=now + timedelta(seconds=1)) == 0
    assert IdempotencyKey.objects.count() == 1


def test_every_view_that_takes_a_key_acts_in_the_transaction_of_the_request():
    loose = [
        route.name
        for route in found_routes()
        if (view := getattr(route.view, "view_class", None))
        and issubclass(view, PortalView)
        and any(map(view.takes_idempotency_key, view.actions))
        and getattr(route.view, "_non_atomic_requests", None)
    ]

    assert loose == []


def test_a_second_request_waits_briefly_and_is_told_when_to_come_back(
    transactional_db, organization
):
    admin = member(organization, "admin")
    asked = idempotency.Asked(
        key="busy",
        organization_id=organization.pk,
        caller=f"user {admin.id}",
        method="POST",
        path=KEYS_URL,
        body=b"",
    )

    def second() -> Any:
        try:
            return api_of(admin).post(KEYS_URL, KEY_BODY, **keyed("busy"))
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as pool, transaction.atomic():
        assert idempotency.begin(asked) is None
        refused = pool.submit(second).result(timeout=30)

    assert refused.status_code == 409
    assert refused.json()["code"] == "idempotency_in_progress"
    assert refused["Retry-After"] == "1"


def test_a_hundred_keys_sent_by_twenty_at_once_make_a_hundred_commands(
    transactional_db, organization
):
    _, secret = api_key(organization, "operator")
    devices = [DeviceFactory(organization=organization) for _ in range(4)]
    urls = {f"key-{n}": f"/api/v1/devices/{devices[n % 4].device_id}/commands" for n in range(100)}
    body = {"type": "ping", "payload": {}}

    def sender(seed: int) -> list[tuple[str, bytes]]:
        client = APIClient(headers={"X-API-Key": secret})
        client.default_format = "json"
        # Each key comes from five senders, which meet it at different times.
        mine = [key for n, key in enumerate(urls) if (n + seed) % 4 == 0]
        random.Random(seed).shuffle(mine)  # noqa: S311 - an order, not a secret
        try:
            return [(key, answered(client, urls[key], body, key)) for key in mine]
        finally:
            connection.close()

    def answered(client: APIClient, url: str, body: dict[str, Any], key: str) -> bytes:
        for _ in range(50):
            response = client.post(url, body, **keyed(key))
            if response.status_code != 409:
                break
        assert response.status_code == 201, response.content
        return response.content

    with ThreadPoolExecutor(20) as pool:
        sent = [pair for pairs in pool.map(sender, range(20)) for pair in pairs]

    answers = {key: {content for other, content in sent if other == key} for key in urls}
    assert len(sent) == 500
    assert Command.objects.count() == 100
    assert all(len(contents) == 1 for contents in answers.values())
