"""Failures that are ordered, from the order to what the operator sees.

The device is the agent's own code; what it sends goes through the portal's doors, its heartbeats
through the gateway.
"""

import hashlib
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.test import override_settings
from rest_framework.test import APIClient

from common import clock
from devices.models import Device
from devices.tests.factories import token_of
from fleet_agent.commands.base import Context
from fleet_agent.executor import Executor
from fleet_agent.heartbeat import HeartbeatSource
from fleet_agent.journal import Journal
from fleet_agent.portal import PortalClient
from fleet_agent.sequence import SequenceCounter
from fleet_agent.settings import ConfigStore
from fleet_agent.updates.deployment import Deployment
from fleet_agent.updates.hooks import Limits
from fleet_agent.updates.loop import UpdateLoop
from fleet_agent.updates.state import CHANGING, PREPARING
from fleet_agent.updates.trust import TrustStore
from releases.models import DeviceUpdate, Release, Rollout
from releases.services.chaos import STEPS
from releases.services.manifests import manifests_publish
from releases.services.verification import updates_time_out
from releases.tasks import rollouts_advance, updates_verify
from releases.tests.bundles import bundle, stored_artifact
from releases.tests.factories import ReleaseFactory, published
from releases.tests.updating import rollout_of, updating
from tests.doors import Doors
from tests.gateway_client import GatewayClient

LONG_AGO = timedelta(minutes=10)


class RehearsedDevice:
    """A device that lets itself be rehearsed with, and the operator's look at it."""

    def __init__(self, device: Device, directory: Path, api: APIClient, door: Doors) -> None:
        self.device, self.api, self.trace = device, api, directory / "running"
        conf = directory / "fleet.conf"
        conf.write_text(
            f"FLEET_URL=http://testserver\nDEVICE_ID={device.device_id}\nFLEET_ENABLED=true\n"
            f"DEVICE_TOKEN={token_of(device)}\nSTATE_DIR={directory}/state\n"
            "ALLOW_UPDATES=true\nUPDATE_TRUST=staged\nCHAOS=true\n"
        )
        (directory / "state").mkdir()
        self.store = ConfigStore(conf)
        self.portal = PortalClient(self.store)
        self.portal._session.mount("http://", door)
        self.deployment = Deployment(self.store)
        self.loop = UpdateLoop(
            store=self.store,
            portal=self.portal,
            deployment=self.deployment,
            make_trust=lambda portal: TrustStore(self.store.state_dir, portal, "staged"),
            boot_id="boot",
            limits=Limits(health_s=1.0, health_pause_s=0.01),
        )

    def runs(self) -> str:
        return self.trace.read_text().strip() if self.trace.exists() else ""

    def order(self, hook: str, **more: Any) -> None:
        """Ask for a failure as an admin does."""
        answer = self.api.post(f"/api/v1/test/{hook}", {"device_id": "studio-1", **more})
        assert answer.status_code == 204

    def beat(self) -> None:
        """Send a heartbeat, as the running agent does."""
        source = HeartbeatSource(
            store=self.store,
            sequence=SequenceCounter(self.store.state_dir / "sequence.json", boot="boot"),
            boot="boot",
            troubles=list,
            queue_length=lambda: 0,
            release=self.deployment.shown,
        )
        self.portal.call("POST", self.portal.device_path("heartbeat"), body=source.build())

    def obey(self) -> None:
        """Carry out the commands that wait, as the running agent does."""
        context = Context(
            store=self.store,
            state_dir=self.store.state_dir,
            portal=self.portal,
            boot_id="boot",
            uptime_s=lambda: 1000,
            recent_log=str,
            pause=lambda seconds: None,
            deployment=self.deployment,
            keeping=self.loop.keeping,
        )
        journal = Journal(self.store.state_dir / "journal.jsonl")
        executor = Executor(journal=journal, context=context)
        claimed = self.portal.call("POST", self.portal.device_path("commands/claim"), body={})
        for command in claimed["commands"]:
            executor.handle(command)
        self.loop.turn()

    def release(self, version: str, counter: int) -> Release:
        """Publish a release whose application leaves its version in a file."""
        running = f'"{self.trace}"'
        hooks = {
            "start": f"echo {version} > {running}",
            "stop": f"rm -f {running}",
            "health": f'[ "$(cat {running})" = {version} ]',
            "safe-mode": f"echo safe > {running}",
        }
        files = {f"hooks/{name}": f"#!/bin/sh\n{text}\n" for name, text in hooks.items()}
        listed = [
            {
                "path": path,
                "sha256": hashlib.sha256(text.encode()).hexdigest(),
                "size": len(text),
                "mode": 0o755,
            }
            for path, text in files.items()
        ]
        draft = ReleaseFactory(organization=self.device.organization, version=version)
        stored_artifact(draft, bundle(dict(files)), status="stored", files=listed)
        made = published(draft, counter=counter)
        manifests_publish(release=made, actor=None, now=clock.now())
        return made

    def update(self, version: str, counter: int, **fields: Any) -> Rollout:
        """Let a rollout of a new release reach the device."""
        rollout = rollout_of(self.release(version, counter), verify_minutes=0)
        updating(self.device, rollout, **fields)
        return rollout

    def seen(self) -> tuple[str, str, str]:
        """Return what the operator sees of the newest update: status, class and error."""
        newest = self.api.get("/api/v1/devices/studio-1/updates").json()["results"][0]
        return newest["status"], newest["failure_class"], newest["error"]


@pytest.fixture
def rehearsed(
    transactional_db: None, device: Device, admin_api: APIClient, tmp_path: Path
) -> Iterator[RehearsedDevice]:
    """A device that runs 1.0.0, by an update of its own, at a portal with hooks."""
    gateway = GatewayClient()
    hooks = override_settings(
        CHAOS_HOOKS=True, ROOT_URLCONF="releases.tests.chaos_urls", MEDIA_ROOT=tmp_path / "media"
    )
    with hooks:
        made = RehearsedDevice(device, tmp_path, admin_api, Doors(gateway))
        made.update("1.0.0", 1)
        made.loop.turn()
        assert (made.runs(), made.seen()[0]) == ("1.0.0", "claimed")
        proved(made)
        assert made.seen()[0] == "verified"
        yield made
    gateway.close()


def proved(rehearsed: RehearsedDevice) -> None:
    """Let time pass since the claim, a heartbeat come, and the portal look."""
    claimed = DeviceUpdate.objects.filter(device=rehearsed.device, status="claimed")
    claimed.update(claimed_at=clock.now() - LONG_AGO)
    rehearsed.beat()
    updates_verify()


def test_every_step_that_can_be_named_is_one_of_the_agent():
    assert [*PREPARING[:-1], *CHANGING] == STEPS


@pytest.mark.parametrize(
    ("at", "status", "failure"),
    [
        ("downloading", "failed", "network"),
        ("verifying", "failed", "verification"),
        ("starting", "rolled_back", "install"),
        ("checking", "rolled_back", "health"),
    ],
)
def test_an_update_that_shall_fail_fails_and_what_ran_before_runs(
    rehearsed: RehearsedDevice, at: str, status: str, failure: str
):
    rehearsed.order("fail-update", at=at)
    rollout = rehearsed.update("2.0.0", 2)

    rehearsed.loop.turn()

    assert rehearsed.seen() == (status, failure, f"Made to fail in the step {at}.")
    assert rehearsed.runs() == "1.0.0"
    shown = rehearsed.api.get(f"/api/v1/rollouts/{rollout.pk}").json()
    assert shown["failures"][0]["failure_class"] == failure


def test_an_update_that_shall_hang_is_given_up_by_the_portal_and_the_device_recovers(
    rehearsed: RehearsedDevice, monkeypatch: pytest.MonkeyPatch
):
    rehearsed.order("fail-update", mode="hang", at="starting")
    rehearsed.update("2.0.0", 2)
    while_it_hangs = []

    def pass_time(seconds: float) -> None:
        updates_time_out(now=clock.now() + timedelta(seconds=seconds))
        while_it_hangs.append((*rehearsed.seen()[:2], rehearsed.runs()))
        state = rehearsed.deployment.states.state
        assert state is not None
        state.spent_s += seconds

    monkeypatch.setattr(rehearsed.loop, "pause", pass_time)
    rehearsed.loop.turn()

    # Nothing ran, and nobody said so: the portal's own clock has ended it.
    assert while_it_hangs == [("failed", "timeout", "")]
    assert rehearsed.seen()[2] == "It was installing and did not end in time."
    assert rehearsed.runs() == "1.0.0"
    assert rehearsed.deployment.shown()["update_unreported"] is False


def test_a_false_success_is_found_out_by_heartbeats_and_stops_the_rollout(
    rehearsed: RehearsedDevice,
):
    rehearsed.order("false-success")
    rollout = rehearsed.update("2.0.0", 2)

    rehearsed.loop.turn()
    assert rehearsed.seen()[0] == "claimed"
    proved(rehearsed)
    rollouts_advance()

    said = "It claimed 2.0.0, and its heartbeats show 1.0.0."
    assert rehearsed.seen() == ("failed", "false_success", said)
    shown = rehearsed.api.get(f"/api/v1/rollouts/{rollout.pk}").json()
    assert (shown["status"], shown["halted_by_rule"]["failure"]) == ("halted", "false_success")
    assert rehearsed.runs() == "1.0.0"


def test_a_device_that_shall_be_away_is_until_its_next_heartbeat(rehearsed: RehearsedDevice):
    def status() -> str:
        return str(rehearsed.api.get("/api/v1/devices/studio-1").json()["status"])

    rehearsed.order("offline")
    away = status()
    rehearsed.beat()

    assert (away, status()) == ("offline", "healthy")


def modes(rehearsed: RehearsedDevice) -> tuple[bool, bool, bool, bool]:
    """Return safe mode and leaving it, by the portal's word and by the device's."""
    shown = rehearsed.api.get("/api/v1/recovery/studio-1").json()
    told = rehearsed.deployment.shown()
    by_device = told["safe_mode"], told["leaving_safe_mode"]
    return (shown["safe_mode"], shown["leaving"] is not None, *by_device)


def redeploy(rehearsed: RehearsedDevice) -> None:
    """Put the device into safe mode, and deploy what ran on it again."""
    path = "/api/v1/recovery/studio-1"
    rehearsed.api.post(f"{path}/enter", {"reason": "The screen is black."})
    rehearsed.obey()
    assert (rehearsed.runs(), modes(rehearsed)) == ("safe", (True, False, True, False))
    rehearsed.release("2.0.0", 2)
    assert rehearsed.api.post(f"{path}/redeploy", {"version": "2.0.0"}).status_code == 201
    rehearsed.loop.turn()


def test_portal_and_device_agree_about_safe_mode_until_a_redeploy_is_proved(
    rehearsed: RehearsedDevice,
):
    redeploy(rehearsed)
    assert (rehearsed.runs(), modes(rehearsed)) == ("2.0.0", (True, True, True, True))

    DeviceUpdate.objects.filter(status="claimed").update(verify_minutes=0)
    proved(rehearsed)
    rehearsed.obey()

    assert (rehearsed.runs(), modes(rehearsed)) == ("2.0.0", (False, False, False, False))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda rehearsed: rehearsed.order("false-success"),
        lambda rehearsed: rehearsed.store.change({"VERSION_FILE": "/proc/sys/kernel/osrelease"}),
    ],
    ids=["claimed_and_not_done", "another_version_runs"],
)
def test_a_redeploy_that_was_a_false_success_leads_both_back_into_safe_mode(
    rehearsed: RehearsedDevice, spoil: Callable[[RehearsedDevice], None]
):
    spoil(rehearsed)
    redeploy(rehearsed)
    assert modes(rehearsed)[0:2] == (True, True)

    proved(rehearsed)
    assert rehearsed.seen()[:2] == ("failed", "false_success")
    rehearsed.obey()

    assert (rehearsed.runs(), modes(rehearsed)) == ("safe", (True, False, True, False))
    shown = rehearsed.api.get("/api/v1/recovery/studio-1").json()
    assert (shown["lifecycle"], shown["source"]) == ("quarantined", "automatic")
    assert shown["confirmed_at"]
