"""Fixtures of the agent's tests. They need neither Django nor any server."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

TESTS_DIR = Path(__file__).parent
# The tree is tested, not an installed copy, under every import mode of pytest.
for directory in (TESTS_DIR, TESTS_DIR.parent):
    if str(directory) not in sys.path:
        sys.path.insert(0, str(directory))

from agent_process import AgentProcess  # noqa: E402
from portal_double import DEVICE, TOKEN, PortalDouble  # noqa: E402
from trust_stand_in import StandInTrust  # noqa: E402
from update_double import MadeRelease, UpdateBook, make_release  # noqa: E402

from fleet_agent.commands.base import Context  # noqa: E402
from fleet_agent.executor import Executor  # noqa: E402
from fleet_agent.heartbeat import HeartbeatSource  # noqa: E402
from fleet_agent.journal import Journal  # noqa: E402
from fleet_agent.portal import PortalClient  # noqa: E402
from fleet_agent.redaction import SECRETS  # noqa: E402
from fleet_agent.sequence import SequenceCounter  # noqa: E402
from fleet_agent.settings import ConfigStore  # noqa: E402
from fleet_agent.updates.deployment import Deployment  # noqa: E402
from fleet_agent.updates.hooks import Limits  # noqa: E402
from fleet_agent.updates.loop import UpdateLoop  # noqa: E402


@pytest.fixture(autouse=True)
def no_known_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no test remove what another one declared secret."""
    monkeypatch.setattr(SECRETS, "_secrets", set())


@pytest.fixture
def portal() -> Iterator[PortalDouble]:
    double = PortalDouble()
    double.start()
    double.know(DEVICE, TOKEN)
    yield double
    double.stop()


@pytest.fixture
def write_config(tmp_path: Path, portal: PortalDouble) -> Callable[..., Path]:
    """Write an enrolled fleet.conf; keyword arguments add or replace keys."""

    def write(**extra: str) -> Path:
        values = {
            "FLEET_ENABLED": "true",
            "FLEET_URL": portal.url,
            "DEVICE_ID": DEVICE,
            "DEVICE_TOKEN": TOKEN,
            "STATE_DIR": str(tmp_path / "state"),
            **extra,
        }
        path = tmp_path / "fleet.conf"
        path.write_text("".join(f"{key}={value}\n" for key, value in values.items()))
        path.chmod(0o600)
        (tmp_path / "state").mkdir(exist_ok=True)
        return path

    return write


@pytest.fixture
def make_store(write_config: Callable[..., Path]) -> Callable[..., ConfigStore]:
    return lambda **extra: ConfigStore(write_config(**extra))


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], Path]:
    """Make shell scripts that stand in for programs; PATH holds nothing else."""
    directory = tmp_path / "bin"
    directory.mkdir()
    monkeypatch.setenv("PATH", str(directory))

    def make(name: str, script: str) -> Path:
        path = directory / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        return path

    return make


@pytest.fixture
def agent(
    tmp_path: Path, write_config: Callable[..., Path], programs: Callable[[str, str], Path]
) -> Iterator[AgentProcess]:
    """A real agent that is not started yet; units named demo* may be restarted."""
    config = write_config(ALLOWED_SERVICES="demo,demo-slow")
    process = AgentProcess(config=config, programs=tmp_path / "bin", log=tmp_path / "agent.log")
    yield process
    process.close()
    for path in tmp_path.glob("*.pid"):
        with contextlib.suppress(ProcessLookupError, ValueError):
            os.kill(int(path.read_text()), signal.SIGKILL)


class Bench:
    """An executor as the agent builds it, with boot id and uptime in the hands of the test."""

    def __init__(self, store: ConfigStore, portal: PortalDouble) -> None:
        self.store = store
        self.portal = portal
        self.boot_id = "boot-one"
        self.uptime_s = 1000
        self.restart()

    def restart(self) -> None:
        """Come up again with nothing but what is on disk."""
        self.journal = Journal(self.store.state_dir / "journal.jsonl")
        context = Context(
            store=self.store,
            state_dir=self.store.state_dir,
            portal=PortalClient(self.store),
            boot_id=self.boot_id,
            uptime_s=lambda: self.uptime_s,
            recent_log=lambda: "a line of the log\n",
            pause=lambda seconds: time.sleep(min(seconds, 0.02)),
        )
        self.executor = Executor(journal=self.journal, context=context)

    def send(
        self, kind: str, payload: Any, *, command_id: str = "c1", attempt: int = 1
    ) -> dict[str, Any]:
        """Have one command carried out; return what the portal was told."""
        self.portal.queue(command_id, kind, payload, attempt)
        self.portal.commands[command_id]["status"] = "delivered"
        self.executor.handle(
            {"id": command_id, "type": kind, "payload": payload, "attempt": attempt}
        )
        return self.portal.report_of(command_id)


@pytest.fixture
def make_bench(
    make_store: Callable[..., ConfigStore], portal: PortalDouble
) -> Callable[..., Bench]:
    return lambda **extra: Bench(make_store(**extra), portal)


class Signer:
    """Stores scripts in the portal's double as the portal does: one canonical, signed text."""

    def __init__(self, portal: PortalDouble) -> None:
        self._portal = portal
        self._key = Ed25519PrivateKey.generate()
        self.key_id = "key-1"
        portal.config = {"signing_keys": [self.public()], "organization": "acme"}

    def public(self) -> dict[str, str]:
        raw = self._key.public_key().public_bytes_raw()
        return {"key_id": self.key_id, "public_key": base64.b64encode(raw).decode()}

    def store(self, command_id: str, body: str, **fields: Any) -> dict[str, Any]:
        """Make a script the one the command means; return the payload that orders it."""
        document = {
            "arguments_schema": {},
            "body": body,
            "interpreter": "sh",
            "name": "demo",
            "organization": "acme",
            "output_bytes": 100_000,
            "timeout_s": 20,
            "version": 3,
            **fields,
        }
        text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        self._portal.scripts[command_id] = {
            "document": text,
            "signature": base64.b64encode(self._key.sign(text.encode())).decode(),
            "key_id": self.key_id,
        }
        return {"script": "demo", "version": 3, "arguments": {}}


@pytest.fixture
def signer(portal: PortalDouble) -> Signer:
    return Signer(portal)


@pytest.fixture
def make_source() -> Callable[..., HeartbeatSource]:
    def make(store: ConfigStore, **extra: Any) -> HeartbeatSource:
        parts: dict[str, Any] = {
            "sequence": SequenceCounter(
                store.state_dir / "sequence.json", boot="b1", uptime_s=lambda: 0
            ),
            "boot": "b1",
            "troubles": list,
            "queue_length": lambda: 0,
            **extra,
        }
        return HeartbeatSource(store=store, **parts)

    return make


class UpdatedDevice:
    """A device that takes releases, with an update loop whose turns the test takes."""

    def __init__(self, store: ConfigStore, portal: PortalDouble, run: Path) -> None:
        self.store = store
        self.portal = portal
        self.run = run
        self.trust = StandInTrust(portal.updates)
        self.limits = Limits(health_s=1.0, health_pause_s=0.01)
        self.restart()

    @property
    def releases(self) -> Path:
        return self.store.releases_dir

    def restart(self) -> None:
        """Come up again with nothing but what is on disk."""
        self.deployment = Deployment(self.store)
        self.loop = UpdateLoop(
            store=self.store,
            portal=PortalClient(self.store),
            deployment=self.deployment,
            make_trust=lambda portal: self.trust,
            boot_id="boot-one",
            limits=self.limits,
        )

    def turn(self) -> float:
        return self.loop.turn()

    def release(self, version: str, **what: Any) -> MadeRelease:
        return make_release(version, run=str(self.run), **what)

    def install(self, release: MadeRelease) -> None:
        """Let a release run, by an update of its own."""
        update_id = self.portal.updates.offer_release(release)
        self.turn()
        assert self.portal.updates.ends[update_id]["status"] == "claimed"
        self.portal.updates.reports.clear()


@pytest.fixture
def make_device(
    make_store: Callable[..., ConfigStore], portal: PortalDouble, tmp_path: Path
) -> Callable[..., UpdatedDevice]:
    portal.updates = UpdateBook()
    run = tmp_path / "run"
    run.mkdir()
    return lambda **extra: UpdatedDevice(
        make_store(**{"ALLOW_UPDATES": "true", **extra}), portal, run
    )
