"""The agent as a real process, against a portal that fails."""

from __future__ import annotations

import json
import time

import pytest
from agent_process import run_cli
from portal_double import DEVICE, TOKEN, sha256

from fleet_agent import conffile


def until(condition, seconds=12.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.02)


def count(path):
    return len(path.read_text().split()) if path.exists() else 0


def test_a_command_is_done_seconds_after_it_was_queued_and_sigterm_ends_the_long_poll(
    agent, portal, programs
):
    programs("systemctl", "echo done")
    portal.next_heartbeat_s = 30.0
    agent.start()
    portal.until(lambda: any("/claim" in request[1] for request in portal.requests))

    portal.queue("c1", "restart_service", {"service": "demo"})
    portal.until(portal.ended("c1"), seconds=5)
    status, seconds = agent.terminate()

    assert portal.status_of("c1") == "succeeded"
    assert len(portal.heartbeats) == 1
    assert (status, seconds < 3) == (0, True)
    assert "fleet-agent ends" in agent.output()


def test_a_killed_agent_never_repeats_what_it_had_begun(agent, portal, programs, tmp_path):
    programs(
        "systemctl",
        f"[ $1 = restart ] || exit 0\necho $$ > {tmp_path}/slow.pid\necho x >> {tmp_path}/count\n"
        "exec /bin/sleep 30",
    )
    portal.queue("c1", "restart_service", {"service": "demo-slow"})
    agent.start()
    until(lambda: count(tmp_path / "count") == 1)
    agent.kill()

    agent.start()
    portal.until(portal.ended("c1"))
    portal.queue("c1", "restart_service", {"service": "demo-slow"})
    portal.until(portal.ended("c1"))

    assert portal.report_of("c1")["status"] == "failed"
    assert "interrupted by a restart of the agent" in portal.report_of("c1")["error"]
    assert count(tmp_path / "count") == 1


def test_a_result_survives_the_kill_of_the_agent(agent, portal, programs, tmp_path):
    programs("systemctl", f"[ $1 = restart ] && echo x >> {tmp_path}/count; exit 0")
    portal.fail(
        "/commands/c1", kind="drop", count=999, when=lambda body: body["status"] != "running"
    )
    portal.queue("c1", "restart_service", {"service": "demo"})
    agent.start()
    portal.until(
        lambda: [r for r in portal.requests if r[0] == "PATCH" and r[3]["status"] != "running"]
    )
    agent.kill()
    portal.faults.clear()

    agent.start()
    portal.until(portal.ended("c1"))

    assert portal.status_of("c1") == "succeeded"
    assert count(tmp_path / "count") == 1


def test_sequences_of_a_killed_agent_are_not_used_again(agent, portal):
    portal.next_heartbeat_s = 0.5
    agent.start()
    portal.until(lambda: len(portal.heartbeats) >= 2)
    agent.kill()
    agent.start()
    seen = len(portal.heartbeats)
    portal.until(lambda: len(portal.heartbeats) >= seen + 2)

    sequences = [beat["sequence"] for beat in portal.heartbeats]
    assert len({beat["boot_id"] for beat in portal.heartbeats}) == 1
    assert sequences == sorted(set(sequences))


def test_an_outage_is_bridged_by_the_queue(agent, portal, tmp_path):
    portal.next_heartbeat_s = 0.5
    agent.start()
    portal.until(lambda: len(portal.heartbeats) >= 1)
    portal.stop()
    queue = tmp_path / "state" / "queue"
    until(lambda: sum(len(path.read_text().splitlines()) for path in queue.glob("*.jsonl")) >= 2)
    portal.start()
    portal.until(lambda: len(portal.flushed) >= 2)
    agent.terminate()

    flushed = [beat["sequence"] for beat in portal.flushed]
    assert flushed == sorted(set(flushed))


def test_a_config_command_takes_effect_in_the_running_agent(agent, portal, tmp_path):
    portal.next_heartbeat_s = None
    agent.start()
    portal.until(lambda: portal.heartbeats)

    portal.queue("c1", "config", {"changes": {"HEARTBEAT_INTERVAL": "5", "LOG_LEVEL": "DEBUG"}})
    portal.until(portal.ended("c1"))
    portal.until(lambda: portal.heartbeats[-1]["status"]["heartbeat_interval_s"] == 5)

    assert portal.status_of("c1") == "succeeded"
    assert conffile.parse((tmp_path / "fleet.conf").read_text())["HEARTBEAT_INTERVAL"] == "5"


def test_a_running_agent_takes_up_a_rotated_token(agent, portal, tmp_path):
    portal.next_heartbeat_s = 0.5
    agent.start()
    portal.until(lambda: portal.heartbeats)

    done = run_cli("rotate", "--config", str(tmp_path / "fleet.conf"))
    new = conffile.parse((tmp_path / "fleet.conf").read_text())["DEVICE_TOKEN"]
    seen = len(portal.heartbeats)
    portal.until(lambda: len(portal.heartbeats) >= seen + 2)
    agent.terminate()

    assert done.returncode == 0
    assert portal.tokens[DEVICE] == [sha256(new)]
    for secret in (TOKEN, new):
        assert secret not in done.stdout + done.stderr + agent.output()


def test_a_switched_off_agent_is_silent_until_it_is_switched_on(agent, portal, tmp_path):
    path = tmp_path / "fleet.conf"
    path.write_text(path.read_text().replace("FLEET_ENABLED=true", "FLEET_ENABLED=false"))
    agent.start()
    until(lambda: (tmp_path / "state" / "agent.lock").exists() and "fleet-agent" in agent.output())
    assert portal.requests == []

    path.write_text(path.read_text().replace("FLEET_ENABLED=false", "FLEET_ENABLED=true"))

    portal.until(lambda: portal.heartbeats)


def test_an_unknown_token_is_told_clearly_and_cured_without_a_restart(agent, portal, tmp_path):
    hashes = portal.tokens.pop(DEVICE)
    agent.start()
    until(lambda: "does not accept this device's token" in agent.output())
    assert agent.is_alive()

    portal.tokens[DEVICE] = hashes
    with (tmp_path / "fleet.conf").open("a") as stream:
        stream.write("LOG_LEVEL=DEBUG\n")

    portal.until(lambda: portal.heartbeats)
    assert TOKEN not in agent.output()


def test_two_agents_do_not_share_a_state_directory(agent, portal, tmp_path):
    agent.start()
    portal.until(lambda: portal.heartbeats)

    second = run_cli("run", "--config", str(tmp_path / "fleet.conf"))
    status = run_cli("status", "--json", "--config", str(tmp_path / "fleet.conf"))

    assert second.returncode == 1
    assert "Another fleet-agent" in second.stderr
    report = json.loads(status.stdout)
    assert report["running"] is True
    assert report["contact"]["last_contact_at"]


@pytest.mark.parametrize("kind", ["drop", "status"])
def test_failing_claims_do_not_touch_the_heartbeats(agent, portal, kind):
    portal.fail("/claim", kind=kind, count=999)
    portal.next_heartbeat_s = 0.5
    agent.start()

    portal.until(lambda: len(portal.heartbeats) >= 3)

    claims = [request for request in portal.requests if "/claim" in request[1]]
    assert len(claims) < 10


def test_the_token_is_in_no_file_of_the_state_directory_and_no_log(
    agent, portal, programs, tmp_path
):
    programs("systemctl", f"echo {TOKEN}; exit 1")
    portal.queue("c1", "restart_service", {"service": "demo"})
    portal.fail("/heartbeat", kind="drop", count=1)
    agent.start()
    portal.until(portal.ended("c1"))
    portal.until(lambda: portal.heartbeats)
    agent.terminate()

    texts = [path.read_text() for path in (tmp_path / "state").rglob("*") if path.is_file()]
    assert TOKEN not in "".join(texts) + agent.output()
    assert TOKEN not in json.dumps(portal.report_of("c1"))
