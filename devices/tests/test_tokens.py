import hashlib
from datetime import timedelta

import pytest
from rest_framework.test import APIClient

from common.ids import secret_token
from devices.models import DeviceToken
from devices.tests.factories import DeviceFactory, token_of


def config(device, token):
    client = APIClient(headers={"X-Device-Token": token})
    return client.get(f"/api/v1/devices/{device.device_id}/config").status_code


def rotate(device, token, **body):
    client = APIClient(headers={"X-Device-Token": token})
    return client.post(f"/api/v1/devices/{device.device_id}/token/rotate", body, format="json")


@pytest.fixture
def old(device):
    return token_of(device)


def own_token():
    token = secret_token()
    return token, hashlib.sha256(token.encode()).hexdigest()


def test_the_old_token_lives_until_the_new_one_is_used(device, old):
    new = rotate(device, old).data["token"]

    assert config(device, old) == 200
    assert config(device, new) == 200
    assert config(device, old) == 401


def test_losing_the_answer_locks_nobody_out(device, old):
    rotate(device, old)
    rotate(device, old)
    newest = rotate(device, old).data["token"]

    assert config(device, old) == 200
    assert config(device, newest) == 200
    assert DeviceToken.objects.filter(device=device, revoked_at=None).count() == 1


def test_sending_the_same_digest_again_changes_nothing(device, old):
    new, digest = own_token()

    answers = [rotate(device, old, token_sha256=digest) for _ in range(3)]

    assert [answer.status_code for answer in answers] == [200, 200, 200]
    assert {answer.data["token"] for answer in answers} == {None}
    assert DeviceToken.objects.filter(device=device).count() == 2
    assert (config(device, new), config(device, old)) == (200, 401)


def test_the_device_may_ask_again_with_the_new_token(device, old):
    new, digest = own_token()
    rotate(device, old, token_sha256=digest)

    assert rotate(device, new, token_sha256=digest).status_code == 200
    assert config(device, new) == 200


def test_a_dead_token_cannot_be_made_to_live_again(device, old):
    new, digest = own_token()
    rotate(device, old, token_sha256=digest)
    config(device, new)
    newer = rotate(device, new).data["token"]
    config(device, newer)

    answer = rotate(device, newer, token_sha256=digest)

    assert (answer.status_code, answer.data["code"]) == (422, "invalid")
    assert config(device, new) == 401


def test_the_old_token_ends_after_the_overlap_anyway(device, old):
    rotate(device, old)
    token = DeviceToken.objects.get(device=device, confirmed_at__isnull=False)
    DeviceToken.objects.filter(pk=token.pk).update(
        expires_at=token.expires_at - timedelta(hours=73)
    )

    assert config(device, old) == 401


def test_a_device_rotates_only_its_own_token(device, old):
    other = DeviceFactory(organization=device.organization)

    assert rotate(other, old).status_code == 404


def test_an_admin_may_rotate_for_a_device(device, admin_api, operator_api):
    url = f"/api/v1/devices/{device.device_id}/token/rotate"

    assert operator_api.post(url).status_code == 403
    assert len(admin_api.post(url).data["token"]) == 64
