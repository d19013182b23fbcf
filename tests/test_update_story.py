"""Updates of a real device by a real portal: one that works, one that does not, and the way back.

Everything is done and seen over HTTP; only the files of the device are looked at directly.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from releases.tests.bundles import bundle
from tests.running_portal import Rest, RunningAgent, RunningPortal, eventually

pytestmark = pytest.mark.xdist_group("story")

DEVICE = "studio-2"
INTERVAL_S = 5
GOOD, ILL = "1.0.0", "1.1.0"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Operator:
    """Does over REST what an operator does, and waits for what comes of it."""

    def __init__(self, rest: Rest) -> None:
        self.rest = rest

    def publish(self, version: str, files: dict[str, str | bytes]) -> None:
        """Make a release of one bundle, have it checked, and publish it."""
        self.rest.call("POST", "/releases", {"version": version, "commit": COMMIT}, status=201)
        path = f"/releases/{version}"
        self.rest.send(f"{path}/artifacts/any/bundle", bundle(files), "application/gzip")
        checked = self.rest.call("POST", f"{path}/validate")
        assert checked["state"] == "validated", checked["findings"]
        assert self.rest.call("POST", f"{path}/publish")["state"] == "published"

    def roll_out(self, version: str) -> str:
        """Start a rollout to the one device that halts at the first failure; return its id."""
        plan = {
            "release": version,
            "selection": {"devices": [DEVICE]},
            "stages": [{"segment": "canary", "percentage": 100}],
            "failure_rules": [{"failure": "all", "threshold_percent": 1, "min_completed": 1}],
            "verify_minutes": 0,
        }
        pk: str = self.rest.call("POST", "/rollouts", plan, status=201)["id"]
        self.rest.call("POST", f"/rollouts/{pk}/start")
        return pk

    def rollout(self, pk: str) -> Any:
        return self.rest.call("GET", f"/rollouts/{pk}")

    def updates(self) -> list[Any]:
        """Return the updates of the device, newest first."""
        found: list[Any] = self.rest.call("GET", f"/devices/{DEVICE}/updates")["results"]
        return found

    def ended(self, status: str, version: str, *, kind: str = "rollout", within: float) -> Any:
        """Wait until the newest update is this one and stands there; return it."""

        def look() -> Any:
            newest = (self.updates() or [{}])[0]
            is_it = (newest.get("kind"), newest.get("to_version")) == (kind, version)
            return newest if is_it and newest["status"] == status else None

        return eventually(look, within=within, what=f"{kind} to {version}: {status}")

    def command(self, kind: str, payload: dict[str, Any]) -> Any:
        """Queue a command and wait for its end."""
        body = {"type": kind, "payload": payload}
        pk = self.rest.call("POST", f"/devices/{DEVICE}/commands", body, status=201)["id"]
        return self.command_ended(pk)

    def command_ended(self, pk: str) -> Any:
        def look() -> Any:
            command = self.rest.call("GET", f"/commands/{pk}")
            return command if command["finished_at"] else None

        return eventually(look, within=30, what="The end of a command")

    def recovery(self) -> Any:
        return self.rest.call("GET", f"/recovery/{DEVICE}")

    def drift(self) -> Any:
        """Return the newest report of drift, or None."""
        return (self.rest.call("GET", f"/devices/{DEVICE}/drift")["results"] or [None])[0]


def application(trace: Path, version: str, *, starts: bool = True) -> dict[str, str | bytes]:
    """Return an application whose only trace is a file that says what runs."""
    running = f'"{trace}"'
    hooks = {
        "start": f"echo {version} > {running}" if starts else "echo no such library; exit 3",
        "stop": f"rm -f {running}",
        "health": f'[ "$(cat {running})" = {version} ]',
        "safe-mode": f"echo safe > {running}",
    }
    scripts = {f"hooks/{name}": f"#!/bin/sh\n{text}\n" for name, text in hooks.items()}
    return {**scripts, "app/text.txt": f"This is {version}.\n"}


@pytest.fixture
def operator(portal: RunningPortal) -> Operator:
    rest = Rest(portal.url)
    rest.sign_in()
    return Operator(rest)


@pytest.fixture
def agent(portal: RunningPortal, operator: Operator) -> Iterator[RunningAgent]:
    """A canary that takes updates."""
    rest = operator.rest
    rest.call("PATCH", "/organizations/main", {"heartbeat_interval_s": INTERVAL_S})
    token = rest.call("POST", "/enrollment-tokens", {"name": "canary"}, status=201)["token"]
    device = RunningAgent(portal, DEVICE)
    device.enroll(token, "ALLOW_UPDATES=true", "UPDATE_TRUST=staged")
    rest.call("PATCH", f"/devices/{DEVICE}", {"segment": "canary"})
    device.start()
    yield device
    device.kill()


def test_a_device_is_updated_brought_back_repaired_and_deployed_again(
    agent: RunningAgent, operator: Operator
):
    rest, trace = operator.rest, agent.directory / "running"

    def runs() -> str:
        return trace.read_text(encoding="utf-8").strip() if trace.exists() else ""

    # A release works: the device says so, and its heartbeats prove it.
    operator.publish(GOOD, application(trace, GOOD))
    eventually(lambda: _is_healthy(rest), within=20, what="A heartbeat of the canary")
    good = operator.roll_out(GOOD)
    operator.ended("verified", GOOD, within=40)
    assert runs() == GOOD
    eventually(lambda: operator.rollout(good)["status"] == "completed", within=10, what="Its end")

    # One that cannot start: the old one runs again, and the rollout stops itself.
    operator.publish(ILL, application(trace, ILL, starts=False))
    ill = operator.roll_out(ILL)
    back = operator.ended("rolled_back", ILL, within=20)
    assert (back["failure_class"], back["error_code"]) == ("install", "start_failed")
    assert "no such library" in back["error"]
    assert runs() == GOOD
    halted = eventually(lambda: _halted(operator, ill), within=10, what="The halt")
    assert halted["halted_by_rule"]["failure"] == "all"
    assert halted["failures"][0]["count"] == 1
    gates = rest.call("GET", f"/releases/{ILL}/eligibility/{DEVICE}")["gates"]
    assert "tried" in [gate["gate"] for gate in gates if not gate["passed"]]

    # Nobody installs what runs already.
    refused = operator.command("update", {"version": GOOD})
    assert (refused["status"], refused["error"]) == ("rejected", "The device runs that version.")

    _drifts_and_is_repaired(operator, agent)
    _goes_into_safe_mode_and_out(operator, runs)
    assert "Traceback" not in agent.log()


def _is_healthy(rest: Rest) -> bool:
    return bool(rest.call("GET", f"/devices/{DEVICE}")["status"] == "healthy")


def _halted(operator: Operator, pk: str) -> Any:
    rollout = operator.rollout(pk)
    return rollout if rollout["status"] == "halted" else None


def _drifts_and_is_repaired(operator: Operator, agent: RunningAgent) -> None:
    """A file of the release is changed by hand; it is told, and put back."""
    text = agent.directory / "state" / "releases" / "current" / "app" / "text.txt"
    text.chmod(0o644)
    text.write_text("Somebody was here.\n", encoding="utf-8")
    checked = operator.command("drift_check", {})
    assert [one["path"] for one in checked["result"]["release_drift"]] == ["app/text.txt"]
    report = eventually(operator.drift, within=10, what="The report of the drift")
    assert [(one["path"], one["kind"]) for one in report["items"]] == [("app/text.txt", "changed")]
    repair = operator.rest.call("POST", f"/drift/{report['id']}/repair", {}, status=201)
    assert operator.command_ended(repair["id"])["status"] == "succeeded"
    assert text.read_text(encoding="utf-8") == f"This is {GOOD}.\n"
    eventually(lambda: operator.drift()["resolved_at"], within=10, what="The end of the drift")


def _goes_into_safe_mode_and_out(operator: Operator, runs: Any) -> None:
    """The device is put into safe mode, and deploying again brings it out."""
    rest = operator.rest
    rest.call("POST", f"/recovery/{DEVICE}/enter", {"reason": "The screen is black."})
    eventually(lambda: operator.recovery()["confirmed_at"], within=20, what="Safe mode")
    eventually(lambda: operator.recovery()["checks_passed"], within=10, what="Diagnostics")
    assert runs() == "safe"
    rest.call("POST", f"/recovery/{DEVICE}/redeploy", {"version": GOOD}, status=201)
    operator.ended("claimed", GOOD, kind="redeploy", within=20)
    assert runs() == GOOD
