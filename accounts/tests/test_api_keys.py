from datetime import timedelta

from rest_framework.test import APIClient

from accounts.models import ApiKey
from accounts.tests.factories import api_key
from common import clock


def with_key(secret):
    return APIClient(headers={"X-API-Key": secret})


def test_a_key_is_shown_once_and_works(admin_api):
    issued = admin_api.post("/api/v1/api-keys", {"name": "ci", "role": "operator"})

    assert issued.status_code == 201
    assert issued.data["key"].startswith(issued.data["prefix"])
    assert with_key(issued.data["key"]).get("/api/v1/devices").status_code == 200
    assert "key" not in admin_api.get(f"/api/v1/api-keys/{issued.data['id']}").data
    assert issued.data["key"].encode() not in bytes(ApiKey.objects.get().sha256)


def test_a_key_acts_with_its_role_and_no_more(organization):
    _, secret = api_key(organization, "viewer")

    assert with_key(secret).get("/api/v1/devices").status_code == 200
    assert with_key(secret).get("/api/v1/api-keys").status_code == 403


def test_a_revoked_key_ends_at_once(admin_api, organization):
    key, secret = api_key(organization)
    assert admin_api.delete(f"/api/v1/api-keys/{key.id}").status_code == 204

    assert with_key(secret).get("/api/v1/devices").status_code == 401


def test_an_expired_key_is_refused(organization):
    key, secret = api_key(organization)
    ApiKey.objects.filter(pk=key.id).update(expires_at=clock.now() - timedelta(seconds=1))

    assert with_key(secret).get("/api/v1/devices").status_code == 401


def test_a_made_up_key_is_refused(db):
    assert with_key("fk_" + "0" * 64).get("/api/v1/devices").status_code == 401


def test_use_is_noted(organization):
    key, secret = api_key(organization)
    with_key(secret).get("/api/v1/devices")

    assert ApiKey.objects.get(pk=key.id).last_used_at is not None


def test_an_admin_revokes_only_keys_of_the_own_organisation(stranger_api, organization):
    key, secret = api_key(organization)

    assert stranger_api.delete(f"/api/v1/api-keys/{key.id}").status_code == 404
    assert with_key(secret).get("/api/v1/devices").status_code == 200
