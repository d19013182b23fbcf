"""The first device, from enrolment to silence, with every process real."""

import csv
import io
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.running_portal import Rest, RunningAgent, RunningPortal, eventually
from tests.sources import PROJECT

pytestmark = pytest.mark.xdist_group("story")

INTERVAL_S = 5
# The sweep that notices silence runs this often.
SWEEP_S = 5
DEVICE = "/devices/studio-1"


def ended(rest: Rest, command: dict[str, Any]) -> dict[str, Any]:
    """Wait until a command has ended; return it."""

    def look() -> dict[str, Any] | None:
        status = rest.call("GET", f"/commands/{command['id']}/status")
        return rest.call("GET", f"/commands/{command['id']}") if status["done"] else None

    found = eventually(look, within=30, what=f"The end of {command['type']}")
    assert found is not None
    return found


def test_a_device_enrols_lives_obeys_and_falls_silent(portal: RunningPortal, tmp_path: Path):
    rest = Rest(portal.url)
    rest.sign_in()

    # The first device comes in with a token and is live with real numbers.
    rest.call("PATCH", "/organizations/main", {"heartbeat_interval_s": INTERVAL_S})
    token = rest.call("POST", "/enrollment-tokens", {"name": "first device"}, status=201)
    agent = RunningAgent(portal, "studio-1")
    agent.enroll(token["token"], "ALLOWED_SERVICES=no-such-unit-of-a-story", "ALLOW_REBOOT=false")
    agent.start()
    device = eventually(lambda: _healthy(rest), within=20, what=f"A heartbeat ({portal.directory})")
    assert 0 <= device["latest"]["cpu_percent"] <= 100
    assert 0 < device["latest"]["mem_percent"] < 100
    assert device["latest"]["disk_free_gb"] > 0
    assert device["latest"]["uptime_seconds"] > 0
    assert token["token"] not in agent.log()

    # It does what it is told, and says what came of it.
    restart = _queue(rest, "restart_service", {"service": "no-such-unit-of-a-story"})
    config = _queue(rest, "config", {"changes": {"COMMAND_POLL_INTERVAL": "7"}})
    restarted, configured = ended(rest, restart), ended(rest, config)
    assert restarted["status"] in {"succeeded", "failed"}
    assert restarted["output"] or restarted["error"]
    assert configured["status"] == "succeeded", configured
    assert "COMMAND_POLL_INTERVAL=7" in agent.config.read_text(encoding="utf-8")

    # Its silence is noticed within two intervals and a sweep.
    agent.kill()
    silent_since = time.monotonic()
    eventually(lambda: _status(rest) == "offline", within=30, what="Going offline")
    assert time.monotonic() - silent_since < 2 * INTERVAL_S + SWEEP_S

    _check_the_log(portal, rest, tmp_path, restarted["status"])


def _healthy(rest: Rest) -> Any:
    device = rest.call("GET", DEVICE)
    is_live = device["status"] == "healthy" and device["latest"]["cpu_percent"] is not None
    return device if is_live else None


def _status(rest: Rest) -> str:
    return str(rest.call("GET", DEVICE)["status"])


def _queue(rest: Rest, kind: str, payload: dict[str, Any]) -> dict[str, Any]:
    body = {"type": kind, "payload": payload}
    command: dict[str, Any] = rest.call("POST", f"{DEVICE}/commands", body, status=201)
    return command


def _check_the_log(portal: RunningPortal, rest: Rest, directory: Path, restarted: str) -> None:
    """The export holds each step, and proves itself without the portal."""
    export = directory / "audit.csv"
    export.write_bytes(rest.text("/audits.csv"))
    rows = list(csv.DictReader(io.StringIO(export.read_text(encoding="utf-8"))))
    actions = [row["action"] for row in rows]
    steps = [
        "organization.update",
        "enrollment_token.issue",
        "device.register",
        "command.queue",
        f"command.{restarted}",
        "command.succeeded",
        "device.offline",
        "audit.export",
    ]
    assert [step for step in steps if step not in actions] == []
    assert actions.index("device.register") < actions.index("command.queue")
    assert actions.index("command.queue") < actions.index("device.offline")
    # A sweep writes one entry for all that it found silent, another story's devices among them.
    offline = [row for row in rows if row["action"] == "device.offline"]
    silent = [name for row in offline for name in json.loads(row["after"])["devices"]]
    assert "studio-1" in silent
    assert {row["actor_type"] for row in offline} == {"system"}
    verified = subprocess.run(
        [sys.executable, str(PROJECT / "audit" / "verifier.py"), str(export)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert verified.returncode == 0, verified.stdout
    assert "0 gaps, 0 faults: intact" in verified.stdout
    assert "intact" in portal.manage("audit_verify")
