import pytest
from django.db import DatabaseError

from devices.services.upkeep import pulse
from devices.tests.factories import DeviceFactory
from fleetsite import metrics
from fleetsite.errors_page import error_codes


def test_health_asks_nobody(client, django_assert_num_queries, db):
    with django_assert_num_queries(0):
        assert client.get("/health").json() == {"status": "ok"}


def test_readiness_names_what_is_missing(client, db):
    answer = client.get("/ready")

    assert answer.status_code == 503
    assert answer.json()["checks"] == {
        "database": True,
        "broker": True,
        "worker": False,
        "beat": False,
    }


def test_the_portal_is_ready_when_all_its_parts_are_there(client, db):
    pulse(name="worker")
    pulse(name="beat")

    assert client.get("/ready").status_code == 200


def test_a_broker_that_is_away_is_seen(client, db, settings):
    settings.REDIS_URL = "redis://127.0.0.1:1/0"

    assert client.get("/ready").json()["checks"]["broker"] is False


def test_prometheus_learns_of_the_fleet_without_names(client, organization):
    DeviceFactory(organization=organization, device_id="secret-name", state__health="healthy")
    pulse(name="gateway")

    text = client.get("/metrics").content.decode()

    assert 'fleet_devices{health="healthy"} 1.0' in text
    assert 'fleet_rollouts{status="halted"} 0.0' in text
    assert 'fleet_pulse_age_seconds{part="gateway"}' in text
    assert "secret-name" not in text
    assert organization.slug not in text


def test_a_scrape_works_without_a_database(monkeypatch):
    def away():
        raise DatabaseError

    monkeypatch.setattr(metrics, "installation_health_counts", away)

    assert list(metrics.FleetCollector().collect()) == []


@pytest.mark.parametrize("path", ["status", "metrics", "system-info"])
def test_people_ask_how_the_portal_is(viewer_api, anonymous_api, path):
    assert viewer_api.get(f"/api/v1/{path}").status_code == 200
    assert anonymous_api.get(f"/api/v1/{path}").status_code == 401


def test_every_code_has_a_meaning():
    codes = {error.code: error for error in error_codes()}

    assert {"device_exists", "queue_full", "totp_needed", "not_found"} <= set(codes)
    assert [error.code for error in codes.values() if not error.meaning] == []


def test_the_type_of_a_problem_leads_to_its_meaning(client, viewer_api):
    problem = viewer_api.get("/api/v1/devices/absent").data
    path, _, anchor = problem["type"].partition("#")

    assert f'id="{anchor}"' in client.get(path).content.decode()


def test_an_unknown_path_of_the_api_is_a_problem_document(client, db):
    answer = client.get("/api/v1/nothing/here")

    assert (answer.status_code, answer.headers["Content-Type"]) == (404, "application/problem+json")
    assert answer.json()["code"] == "not_found"


def test_every_answer_names_its_request(client, db):
    mine = client.get("/health", headers={"X-Request-ID": "my-id"})
    unusable = client.get("/health", headers={"X-Request-ID": "bad id <x>"})
    made = client.get("/health")

    assert mine.headers["X-Request-ID"] == "my-id"
    assert len(unusable.headers["X-Request-ID"]) == 36
    assert len(made.headers["X-Request-ID"]) == 36


def test_the_swagger_page_loads_nothing_from_outside(client, db):
    page = client.get("/docs").content.decode()

    assert "/static/drf_spectacular_sidecar/" in page
    assert "https://" not in page
