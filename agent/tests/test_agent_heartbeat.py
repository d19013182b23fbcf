from __future__ import annotations

import re

import pytest

from fleet_agent import __version__, metrics
from fleet_agent.contact import ContactRecord, read_contact
from fleet_agent.loops import HeartbeatLoop
from fleet_agent.offline_queue import OfflineQueue
from fleet_agent.portal import PortalClient


@pytest.fixture
def store(make_store):
    return make_store()


@pytest.fixture
def queue(store):
    return OfflineQueue(store.state_dir / "queue", max_bytes=100_000)


@pytest.fixture
def woken():
    return []


@pytest.fixture
def loop(store, queue, make_source, woken):
    return HeartbeatLoop(
        store=store,
        portal=PortalClient(store),
        source=make_source(store),
        queue=queue,
        contact=ContactRecord(store.state_dir / "state.json"),
        on_commands=lambda: woken.append(1),
    )


def make_due(loop):
    loop._next_sample = loop._next_try = 0.0


def test_a_heartbeat_says_what_the_contract_asks(store, make_source):
    beat = make_source(store, troubles=lambda: ["queue trouble"]).build()

    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", beat["ts"])
    assert (beat["boot_id"], beat["sequence"]) == ("b1", 1)
    assert beat["version"] == beat["agent_version"] == __version__
    assert isinstance(beat["uptime_seconds"], int)
    assert {"cpu_percent", "mem_percent", "disk_percent", "disk_free_gb", "load_1m"} <= set(
        beat["metrics"]
    )
    assert all(isinstance(value, (int, float)) for value in beat["metrics"].values())
    assert beat["errors"][-1] == "queue trouble"
    assert beat["status"]["degradation_level"] == 1


def test_the_version_comes_from_the_first_line_of_its_file(make_store, make_source, tmp_path):
    version = tmp_path / "VERSION"
    version.write_text(" 4.2.0 \nbuilt yesterday\n")
    store = make_store(VERSION_FILE=str(version))

    assert make_source(store).build()["version"] == "4.2.0"

    version.unlink()
    assert make_source(store).build()["version"] == __version__


def test_an_unknown_temperature_is_left_out(monkeypatch, tmp_path):
    monkeypatch.setattr(metrics.psutil, "sensors_temperatures", dict, raising=False)
    monkeypatch.setattr(metrics, "THERMAL_ZONES", tmp_path)
    assert "temperature_c" not in metrics.MetricsReader().read()

    (tmp_path / "thermal_zone0").mkdir()
    (tmp_path / "thermal_zone0" / "temp").write_text("48312\n")
    assert metrics.MetricsReader().read()["temperature_c"] == 48.3


def test_a_metric_that_cannot_be_read_costs_only_itself(monkeypatch):
    def broken(path):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(metrics.psutil, "disk_usage", broken)

    found = metrics.MetricsReader().read()

    assert "disk_percent" not in found
    assert "mem_percent" in found


def test_containers_are_counted_where_docker_is(monkeypatch, tmp_path, programs):
    programs(
        "docker", "printf 'Up 2 hours\\nUp 1 hour (unhealthy)\\nExited (0) x\\nExited (137) x\\n'"
    )
    monkeypatch.setattr(metrics, "DOCKER_SOCKET", tmp_path / "absent")
    assert "containers_running" not in metrics.MetricsReader().read()

    monkeypatch.setattr(metrics, "DOCKER_SOCKET", tmp_path)
    found = metrics.MetricsReader().read()
    assert (found["containers_running"], found["containers_failed"]) == (2, 2)


def test_a_full_disk_is_an_error_of_the_machine():
    assert metrics.machine_errors({"disk_percent": 96.4}) == ["disk of / is 96 % full"]
    assert metrics.machine_errors({"disk_percent": 95.0}) == []


def test_the_first_heartbeat_goes_out_at_once_and_the_portal_sets_the_pace(portal, loop):
    portal.next_heartbeat_s = 17.0

    wait_s = loop.turn()

    assert len(portal.heartbeats) == 1
    assert 16 < wait_s <= 17


def test_without_a_pace_of_the_portal_the_own_interval_counts(portal, loop):
    portal.next_heartbeat_s = None

    assert 53 < loop.turn() <= 66


@pytest.mark.parametrize(
    ("pace", "low", "high"), [(-1, 0, 0.5), (1e9, 86_399, 86_400), (True, 53, 66)]
)
def test_a_pace_out_of_reason_is_not_believed(portal, loop, pace, low, high):
    portal.next_heartbeat_s = pace

    assert low <= loop.turn() <= high


def test_changed_settings_are_taken_up_with_a_heartbeat_at_once(portal, loop, store):
    portal.next_heartbeat_s = None
    loop.turn()
    store.change({"HEARTBEAT_INTERVAL": "10"})

    loop.settings_changed()
    wait_s = loop.turn()

    assert len(portal.heartbeats) == 2
    assert 8 < wait_s <= 11
    assert portal.heartbeats[-1]["status"]["heartbeat_interval_s"] == 10


def test_pending_commands_wake_the_other_loop(portal, loop, woken):
    portal.queue("c1", "update", {})

    loop.turn()

    assert woken == [1]


def test_overload_is_waited_out_as_long_as_the_portal_asks(portal, loop, queue):
    portal.fail("/heartbeat", status=503, headers={"Retry-After": "20"})

    wait_s = loop.turn()

    assert 19.5 < wait_s <= 22
    assert len(queue) == 1


def test_heartbeats_of_an_outage_are_delivered_in_order_afterwards(portal, loop, queue):
    portal.stop()
    for _ in range(5):
        make_due(loop)
        loop.turn()
    assert len(queue) == 5

    portal.start()
    make_due(loop)
    portal.next_heartbeat_s = 30.0
    loop.turn()

    assert [beat["sequence"] for beat in portal.heartbeats] == [6]
    assert [beat["sequence"] for beat in portal.flushed] == [1, 2, 3, 4, 5]
    assert {beat["device_id"] for beat in portal.flushed} == {"kiosk-7"}
    assert len(queue) == 0


def test_samples_taken_while_waiting_to_retry_are_queued_without_a_request(portal, loop, queue):
    portal.fail("/heartbeat", status=503, headers={"Retry-After": "30"})
    loop.turn()
    loop._next_sample = 0.0

    loop.turn()

    assert len(queue) == 2
    assert len(portal.requests) == 1


def test_a_retry_between_two_samples_is_not_queued(portal, loop, queue):
    portal.fail("/heartbeat", kind="drop", count=9)
    loop.turn()
    for _ in range(3):
        loop._next_try = 0.0
        loop.turn()

    assert len(queue) == 1
    assert len(portal.requests) == 4


def test_a_rejected_heartbeat_is_dropped_and_the_rest_delivered(portal, loop, queue, caplog):
    for number in range(1, 6):
        queue.append({"sequence": number})
    portal.reject_sequences = {3}
    portal.next_heartbeat_s = 30.0

    loop.turn()

    assert [beat["sequence"] for beat in portal.flushed] == [1, 2, 4, 5]
    assert len(queue) == 0


def test_one_heartbeat_that_spoils_its_batch_is_found_and_dropped(portal, loop, queue):
    for number in range(1, 10):
        queue.append({"sequence": number})
    portal.fail(
        "/telemetry/batch",
        status=422,
        count=99,
        when=lambda body: any(beat["sequence"] == 4 for beat in body["heartbeats"]),
    )
    portal.next_heartbeat_s = 30.0

    loop.turn()

    assert [beat["sequence"] for beat in portal.flushed] == [1, 2, 3, 5, 6, 7, 8, 9]
    assert len(queue) == 0


def test_a_long_queue_goes_out_in_chunks(portal, loop, store):
    queue = loop._queue = OfflineQueue(store.state_dir / "long", max_bytes=1_000_000)
    for number in range(1, 451):
        queue.append({"sequence": number})
    portal.next_heartbeat_s = 30.0

    loop.turn()

    assert portal.batch_sizes == [200, 200, 50]
    assert [beat["sequence"] for beat in portal.flushed] == list(range(1, 451))


def test_a_lost_answer_to_a_batch_repeats_it_and_loses_nothing(portal, loop, queue):
    for number in range(1, 4):
        queue.append({"sequence": number})
    portal.fail("/telemetry/batch", kind="lose")
    portal.next_heartbeat_s = 30.0
    loop.turn()
    assert len(queue) == 3

    make_due(loop)
    loop._next_flush = 0.0
    loop.turn()

    assert [beat["sequence"] for beat in portal.flushed] == [1, 2, 3, 1, 2, 3]
    assert len(queue) == 0


@pytest.mark.parametrize(("status", "kept"), [(401, 1), (403, 0), (404, 0), (422, 0), (500, 1)])
def test_only_what_may_be_accepted_later_is_queued(portal, loop, queue, status, kept):
    portal.fail("/heartbeat", status=status)

    loop.turn()

    assert len(queue) == kept


def test_the_last_contact_is_written_down(portal, loop, store):
    loop.turn()
    portal.fail("/heartbeat", kind="drop")
    make_due(loop)
    loop.turn()

    record = read_contact(store.state_dir / "state.json")
    assert record["last_contact_at"].endswith("Z")
    assert "No answer" in record["last_failure"]


def test_a_full_disk_does_not_stop_the_heartbeats(portal, store, make_source, monkeypatch):
    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("fleet_agent.durable.os.fsync", full)
    queue = OfflineQueue(store.state_dir / "queue", max_bytes=100_000)
    loop = HeartbeatLoop(
        store=store,
        portal=PortalClient(store),
        source=make_source(store, troubles=lambda: [queue.trouble] if queue.trouble else []),
        queue=queue,
        contact=ContactRecord(store.state_dir / "state.json"),
        on_commands=lambda: None,
    )
    portal.fail("/heartbeat", kind="drop")
    loop.turn()
    make_due(loop)

    loop.turn()

    assert "offline queue cannot be written" in portal.heartbeats[0]["errors"][0]
