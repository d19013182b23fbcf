"""The Python client and the program `fleet` against a whole portal that runs."""

import csv
import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import pytest
import requests

from fleet_client import AsyncFleetClient, FleetClient, Invalid, NotFound, PusherAPIClient
from fleet_client.models import RolloutEvent, UpdateMove
from releases.tests.bundles import bundle
from tests.running_portal import EMAIL, PASSWORD, RunningPortal, eventually
from tests.sources import PROJECT

pytestmark = pytest.mark.xdist_group("story")

CLIENT = str(PROJECT / "clients" / "python")


class Device:
    """A device that does what the test tells it to."""

    def __init__(self, url: str, device_id: str, enrolment_token: str) -> None:
        self._api = f"{url}/api/v1"
        self.device_id = device_id
        self._session = requests.Session()
        answer = self.call(
            "POST",
            "/devices/register",
            {
                "device_id": device_id,
                "name": device_id,
                "platform": "linux",
                "arch": "aarch64",
                "enrollment_token": enrolment_token,
            },
        )
        self._session.headers["X-Device-Token"] = answer["token"]

    def call(self, method: str, path: str, body: Any = None) -> Any:
        answer = self._session.request(method, f"{self._api}{path}", json=body, timeout=10)
        assert answer.ok, answer.text
        return answer.json()

    def beat(self) -> None:
        beat = {"version": "1.4.2", "metrics": {"cpu_percent": 12.5, "mem_percent": 40}}
        self.call("POST", f"/devices/{self.device_id}/heartbeat", beat)

    def claim(self) -> Any:
        answer = self.call("POST", f"/devices/{self.device_id}/commands/claim?wait=10&max=1")
        (command,) = answer["commands"]
        return command

    def report(self, command: Any, status: str, **members: Any) -> None:
        body = {"status": status, "attempt": command["attempt"], **members}
        self.call("PATCH", f"/commands/{command['id']}", body)

    def prints(self, command: Any, index: int, text: str) -> None:
        body = {"attempt": command["attempt"], "index": index, "text": text}
        self.call("POST", f"/commands/{command['id']}/output", body)

    def sends_bundle(self, command: Any, files: dict[str, str]) -> None:
        content = archive_of(files)
        answer = self._session.post(
            f"{self._api}/commands/{command['id']}/bundle",
            data=content,
            headers={
                "Content-Type": "application/gzip",
                "X-Content-SHA256": hashlib.sha256(content).hexdigest(),
            },
            timeout=10,
        )
        assert answer.ok, answer.text

    def offered(self) -> Any:
        """Return the update the portal has for it; None while there is none."""
        path = f"{self._api}/devices/{self.device_id}/update"
        answer = self._session.get(path, timeout=10)
        assert answer.ok, answer.text
        return answer.json() if answer.status_code == 200 else None

    def tells(self, update: Any, status: str, **members: Any) -> None:
        body = {"update_id": update["update_id"], "status": status, **members}
        self.call("POST", "/telemetry/update-results", body)

    def obey(self, **members: Any) -> None:
        command = self.claim()
        self.report(command, "running")
        self.report(command, "succeeded", **members)


def archive_of(files: dict[str, str]) -> bytes:
    """Return a tar.gz."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for name, text in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text.encode())
            archive.addfile(entry, io.BytesIO(text.encode()))
    return stream.getvalue()


@pytest.fixture
def fleet(portal: RunningPortal) -> Iterator[FleetClient]:
    with FleetClient(portal.url, email=EMAIL, password=PASSWORD) as client:
        yield client


@pytest.fixture
def device(portal: RunningPortal, fleet: FleetClient, request: pytest.FixtureRequest) -> Device:
    """A device that beats, named after the test."""
    token = fleet.enrollment_tokens.create("story", max_uses=1).token
    made = Device(portal.url, request.node.name.replace("_", "-")[:60], token)
    made.beat()
    return made


@pytest.fixture
def key(fleet: FleetClient) -> str:
    return fleet.api_keys.create("story", "operator").key


def test_a_person_looks_at_their_devices(fleet: FleetClient, device: Device):
    me = fleet.service.whoami()
    found = fleet.devices.get(device.device_id)

    assert me.role == "admin"
    assert found.status == "healthy"
    assert found.latest
    assert found.latest.cpu_percent == 12.5
    assert device.device_id in [one.device_id for one in fleet.devices.iterate(page_size=1)]
    assert [beat.version for beat in fleet.devices.heartbeats(device.device_id)] == ["1.4.2"]
    assert fleet.devices.metrics(device.device_id, "cpu_percent").points[0].max == 12.5
    with pytest.raises(NotFound):
        fleet.devices.get("no-such-device")


def test_a_command_is_followed_from_queue_to_end(portal: RunningPortal, device: Device, key: str):
    with FleetClient(portal.url, api_key=key) as fleet:
        queued = fleet.commands.queue(
            device.device_id, "restart_service", {"service": "cron"}, priority="high"
        )
        assert queued.priority == 50

        taken = device.claim()
        device.report(taken, "running")
        device.prints(taken, 0, "stopping\n")
        output = fleet.commands.output(queued.id, timeout=20)
        assert next(output).text == "stopping\n"
        device.prints(taken, 1, "started\n")
        device.report(taken, "succeeded", result={"exit_status": 0})

        assert [chunk.text for chunk in output] == ["started\n"]
        ended = fleet.commands.wait(queued.id, timeout=20)
        assert ended.has_succeeded
        assert ended.result == {"exit_status": 0}
        steps = [event.to_status for event in fleet.commands.timeline(queued.id).events]
        assert steps == ["queued", "delivered", "running", "succeeded"]


def test_the_same_key_again_queues_nothing_twice(fleet: FleetClient, device: Device):
    first, second = (
        fleet.commands.queue(device.device_id, "reboot", idempotency_key="once") for _ in range(2)
    )

    assert first.id == second.id
    with pytest.raises(Invalid) as refusal:
        fleet.commands.queue(device.device_id, "ping", idempotency_key="once")
    assert refusal.value.code == "idempotency_key_reused"


def test_a_command_that_waits_says_why_and_is_taken_back(fleet: FleetClient, device: Device):
    tonight = datetime.now(UTC) + timedelta(hours=6)
    queued = fleet.commands.queue(device.device_id, "reboot", not_before=tonight)

    assert "not_before" in [reason.code for reason in fleet.commands.why(queued.id).reasons]
    cancelled = fleet.commands.cancel(queued.id, version=queued.version, reason="not today")
    assert cancelled.status == "cancelled"
    again = fleet.commands.retry(queued.id)
    assert again.retry_of == queued.id


def test_a_batch_reaches_its_devices(fleet: FleetClient, device: Device):
    selection = {"devices": [device.device_id]}
    assert fleet.batches.preview(selection).count == 1

    batch = fleet.batches.create("One", "ping", selection=selection)
    device.obey()

    ended = fleet.batches.wait(batch.id, timeout=60)
    assert ended.status == "completed"
    (target,) = fleet.batches.targets(batch.id)
    assert (target.device_id, target.status) == (device.device_id, "succeeded")


def test_a_script_is_stored_signed_and_run_from_a_template(fleet: FleetClient, device: Device):
    fleet.scripts.create("greet", "echo hello", interpreter="sh", timeout_s=10)
    second = fleet.scripts.add_version("greet", "echo hello again")
    assert (second.version, fleet.scripts.get("greet").version) == (2, 2)
    assert {text.body for text in fleet.scripts.versions("greet")} == {
        "echo hello",
        "echo hello again",
    }

    template = fleet.templates.create(
        "Greet", "run_script", {"script": "greet"}, options={"priority": "low"}
    )
    queued = fleet.commands.queue_template(device.device_id, template.id)

    assert (queued.type, queued.priority) == ("run_script", -50)
    signed = device.call("GET", f"/commands/{queued.id}/script")
    assert "hello again" in signed["document"]
    assert fleet.scripts.withdraw("greet").withdrawn_at
    fleet.templates.delete(template.id)
    assert template.id not in [one.id for one in fleet.templates.iterate()]


def test_a_bundle_is_asked_for_read_and_saved(fleet: FleetClient, device: Device, tmp_path: Path):
    queued = fleet.bundles.request(device.device_id, payload={"include_logs": True})
    taken = device.claim()
    device.report(taken, "running")
    lines = "".join(f"line {number}\n" for number in range(1_500))
    device.sends_bundle(taken, {"logs/kernel.txt": f"{lines}Out of memory: Killed process 12\n"})
    device.report(taken, "succeeded")

    def ready() -> Any:
        found = fleet.bundles.list(device_id=device.device_id).items
        return found[0] if found and found[0].status == "ready" else None

    bundle = eventually(ready, within=30, what="The processing of the bundle")
    assert bundle.command_id == queued.id
    path = next(file.path for file in fleet.bundles.get(bundle.id).manifest if file.lines)
    assert len(list(fleet.bundles.lines(bundle.id, path))) == 1_501
    assert fleet.bundles.search(bundle.id, "out of memory").matches[0].line == 1_501
    assert fleet.bundles.findings(bundle.id)[0].path == path
    saved = fleet.bundles.download(bundle.id, tmp_path / "bundle.zip")
    assert path in zipfile.ZipFile(saved).namelist()


def test_a_rollout_is_planned_watched_and_stops_itself(
    fleet: FleetClient, device: Device, tmp_path: Path
):
    (tmp_path / "bundle.tar.gz").write_bytes(bundle())
    fleet.releases.create("7.0.0", "a" * 40)
    fleet.releases.upload("7.0.0", tmp_path / "bundle.tar.gz")
    assert fleet.releases.validate("7.0.0").state == "validated"
    fleet.releases.publish("7.0.0")
    fleet.devices.update(device.device_id, segment="canary")
    plan: dict[str, Any] = {
        "selection": {"devices": [device.device_id]},
        "stages": [{"segment": "canary"}],
        "failure_rules": [{"failure": "all", "threshold_percent": 1, "min_completed": 1}],
    }
    assert fleet.rollouts.preview("7.0.0", plan["selection"]).by_segment == {"canary": 1}
    assert fleet.rollouts.simulate("7.0.0", **plan).stages[0].devices == 1
    rollout = fleet.rollouts.create("7.0.0", **plan)
    closed = fleet.releases.eligibility("7.0.0", device.device_id).closed
    assert "rollout" in [gate.gate for gate in closed]

    news = fleet.rollouts.watch(rollout.id, timeout=60)
    assert next(news).raw["status"] == "draft"
    assert fleet.rollouts.start(rollout.id).status == "running"
    update = eventually(device.offered, within=20, what="An offer")
    device.tells(update, "downloading")
    device.tells(update, "failed", failure_class="space", error="3 MB left")

    told = list(news)
    assert told[-1].raw["status"] == "halted"
    story = [one for one in told if isinstance(one, RolloutEvent)]
    lines = list(fleet.rollouts.events(rollout.id))[::-1]
    assert [one.id for one in story] == [one.id for one in lines if one.id >= story[0].id]
    assert "failed" in [one.status for one in told if isinstance(one, UpdateMove)]
    halted = fleet.rollouts.wait(rollout.id, timeout=20)
    assert [(one.failure_class, one.error) for one in halted.failures] == [("space", "3 MB left")]
    assert halted.reason
    assert fleet.updates.get(update["update_id"]).trail[-1].to_status == "failed"
    assert next(fleet.devices.updates(device.device_id)).failure_class == "space"


def test_the_log_is_exported_as_it_is_chained(fleet: FleetClient, device: Device, tmp_path: Path):
    saved = fleet.audits.export(tmp_path / "audit.csv", deviceId=device.device_id)

    rows = list(csv.DictReader(io.StringIO(saved.read_text(encoding="utf-8"))))
    listed = fleet.audits.iterate(deviceId=device.device_id)
    assert {row["action"] for row in rows} == {entry.action for entry in listed}


def test_coroutines_and_callers_of_push_services_are_served_too(
    portal: RunningPortal, device: Device, key: str
):
    async def run() -> None:
        async with PusherAPIClient(portal.url, api_key=key) as pusher:
            assert await pusher.push_command(
                device_id=device.device_id, command_type="ping", payload={}, protocol="agent"
            )
            assert not await pusher.push_command(
                device_id="no-such-device", command_type="ping", payload={}
            )
        async with AsyncFleetClient(portal.url, api_key=key) as fleet:
            (queued,) = [one async for one in fleet.commands.iterate(device_id=device.device_id)]
            await anyio.to_thread.run_sync(device.obey)
            assert (await fleet.commands.wait(queued.id, timeout=20)).has_succeeded

    anyio.run(run)


def test_the_program_signs_in_and_acts(portal: RunningPortal, device: Device, tmp_path: Path):
    def run(*arguments: str, text: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "fleet_client", *arguments],
            env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONPATH": CLIENT},
            input=text,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    login = run("login", portal.url, "--email", EMAIL, text=PASSWORD)
    assert login.returncode == 0, login.stderr
    listed = json.loads(run("devices", "list", "--json").stdout)
    assert device.device_id in [one["device_id"] for one in listed]
    queued = run("commands", "queue", device.device_id, "ping")
    assert queued.returncode == 0, queued.stderr
    device.obey()
    assert run("commands", "wait", queued.stdout.strip(), "--timeout", "20").returncode == 0
    assert run("commands", "cancel", queued.stdout.strip()).returncode == 4
    assert run("devices", "show", "no-such-device").returncode == 3
    unknown = run("commands", "queue", device.device_id, "no-such-type")
    assert unknown.returncode == 4
    assert "no-such-type" in unknown.stderr
