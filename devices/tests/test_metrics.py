from datetime import timedelta

import pytest

from common import clock
from devices.models import Heartbeat


@pytest.fixture
def hour(device):
    """Sixty heartbeats, one a minute, with the minute as the processor's load."""
    start = clock.now().replace(minute=0, second=0, microsecond=0) - timedelta(hours=1)
    for minute in range(60):
        Heartbeat.objects.create(
            device=device,
            organization=device.organization,
            at=start + timedelta(minutes=minute),
            received_at=start,
            health="healthy",
            sequence=minute,
            cpu_percent=float(minute),
            metrics={"load_1m": minute / 10, "note": "text"},
        )
    return start


def ask(api, device, hour, **query):
    span = {"from": hour.isoformat(), "to": (hour + timedelta(hours=1)).isoformat()}
    return api.get(f"/api/v1/devices/{device.device_id}/metrics", {**span, **query})


def test_buckets_hold_count_average_extremes_and_percentile(operator_api, device, hour):
    answer = ask(operator_api, device, hour, metric="cpu_percent", step=600)

    assert (answer.data["step"], len(answer.data["points"])) == (600, 6)
    first = answer.data["points"][0]
    assert (first["count"], first["avg"], first["min"], first["max"]) == (10, 4.5, 0.0, 9.0)
    assert first["p95"] == pytest.approx(8.55)


def test_a_free_metric_can_be_asked_for(operator_api, device, hour):
    points = ask(operator_api, device, hour, metric="load_1m", step=3600).data["points"]

    assert points[0]["max"] == pytest.approx(5.9)


@pytest.mark.parametrize("metric", ["note", "no_such", "'; DROP TABLE x; --"])
def test_what_is_no_number_gives_no_points(operator_api, device, hour, metric):
    assert ask(operator_api, device, hour, metric=metric).data["points"] == []


@pytest.mark.parametrize(
    "query", [{"step": 0}, {"step": 1}, {"from": "yesterday"}, {"from": "2999-01-01T00:00:00Z"}]
)
def test_an_unusable_span_is_refused(operator_api, device, hour, query):
    assert ask(operator_api, device, hour, **query).status_code == 422


def test_heartbeats_are_listed_newest_first_by_cursor(operator_api, device, hour):
    url = f"/api/v1/devices/{device.device_id}/heartbeats?page_size=50"
    first = operator_api.get(url).data
    second = operator_api.get(first["next"]).data

    assert first["results"][0]["cpu_percent"] == 59.0
    assert [row["cpu_percent"] for row in second["results"]] == [float(n) for n in range(9, -1, -1)]
