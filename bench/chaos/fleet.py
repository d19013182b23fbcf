"""Devices and callers that do what real ones do: try again until they are told."""

import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import requests

from bench.chaos.processes import EMAIL, Processes

PAUSE_S = 0.2
PATIENCE_S = 60.0


def insist(send: Callable[[], requests.Response], *, until: float) -> requests.Response | None:
    """Send again until an answer below 500 comes; None when `until` (monotonic) has passed."""
    while time.monotonic() < until:
        try:
            answer = send()
        except requests.RequestException:
            answer = None
        waits = answer is not None and answer.status_code == 409 and "Retry-After" in answer.headers
        if answer is not None and answer.status_code not in (429, 500, 502, 503, 504) and not waits:
            return answer
        time.sleep(PAUSE_S)
    return None


class Operator:
    """A program of the operator's: queues commands with keys and reads what became of them."""

    def __init__(self, processes: Processes) -> None:
        self.url = f"{processes.web_url}/api/v1"
        self._headers: dict[str, str] = {}
        signed = requests.post(
            f"{self.url}/auth/token",
            json={"email": EMAIL, "password": processes.password},
            timeout=10,
        )
        signed.raise_for_status()
        bearer = {"Authorization": f"Bearer {signed.json()['access']}"}
        # An access token ends after minutes; a key stays.
        made = requests.post(
            f"{self.url}/api-keys",
            json={"name": "chaos", "role": "admin"},
            headers=bearer,
            timeout=10,
        )
        made.raise_for_status()
        self._headers = {"X-API-Key": made.json()["key"]}

    def post(self, path: str, body: dict[str, Any], *, key: str = "") -> requests.Response:
        headers = {**self._headers, **({"Idempotency-Key": key} if key else {})}
        return requests.post(f"{self.url}/{path}", json=body, headers=headers, timeout=10)

    def get(self, path: str) -> requests.Response:
        return requests.get(f"{self.url}/{path}", headers=self._headers, timeout=10)

    def enroll(self, count: int) -> list[tuple[str, str]]:
        """Return (device id, token) of new devices."""
        made = self.post("enrollment-tokens", {"name": "chaos", "max_uses": count})
        made.raise_for_status()
        found = []
        for number in range(count):
            body = {
                "device_id": f"chaos-{number:03d}",
                "name": f"Chaos {number}",
                "platform": "linux",
                "arch": "amd64",
                "enrollment_token": made.json()["token"],
            }
            answer = requests.post(f"{self.url}/devices/register", json=body, timeout=10)
            answer.raise_for_status()
            found.append((body["device_id"], answer.json()["token"]))
        return found

    def queue(self, device_id: str, *, key: str, until: float, **options: Any) -> str | None:
        """Queue a command, insisting; return its id once the portal said that it has it."""
        body = {"type": "ping", "payload": {}, **options}
        answer = insist(lambda: self.post(f"devices/{device_id}/commands", body, key=key),
                        until=until)  # fmt: skip
        if answer is None:
            return None
        answer.raise_for_status()
        return str(answer.json()["id"])


@dataclass
class Done:
    """What the devices did, by command."""

    effects: Counter[str] = field(default_factory=Counter)
    reported: set[str] = field(default_factory=set)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, command: str) -> None:
        with self.lock:
            self.effects[command] += 1

    @property
    def doubled(self) -> int:
        return sum(1 for count in self.effects.values() if count > 1)


class FakeDevice(threading.Thread):
    """Claims, does (counts), reports. Some first claims are forgotten, as a power cut would.

    It keeps a journal in memory, as the agent keeps one on disk: what was done is not done again.
    """

    def __init__(
        self, processes: Processes, name: str, token: str, done: Done, *, forgets: bool = False
    ) -> None:
        super().__init__(daemon=True, name=name)
        self._url = f"{processes.gateway_url}/api/v1"
        self._session = requests.Session()
        self._session.headers["X-Device-Token"] = token
        self._done = done
        self._forgets = forgets
        self._forgotten: set[str] = set()
        self.ended = threading.Event()

    def run(self) -> None:
        while not self.ended.is_set():
            try:
                answer = self._session.post(
                    f"{self._url}/devices/{self.name}/commands/claim?wait=2&max=4", timeout=10
                )
                commands = answer.json().get("commands", []) if answer.ok else []
            except (requests.RequestException, ValueError):
                commands = []
                time.sleep(PAUSE_S)
            for command in commands:
                self._work(command)

    def _work(self, command: dict[str, Any]) -> None:
        name = command["id"]
        if self._forgets and name not in self._forgotten:
            self._forgotten.add(name)
            return
        until = time.monotonic() + PATIENCE_S
        began = self._tell(command, {"status": "running"}, until)
        if began is None or began.status_code != 200:
            return
        self._done.note(name)
        ended = self._tell(command, {"status": "succeeded", "output": "done"}, until)
        if ended is not None and ended.status_code == 200:
            self._done.reported.add(name)

    def _tell(
        self, command: dict[str, Any], report: dict[str, Any], until: float
    ) -> requests.Response | None:
        body = {**report, "attempt": command["attempt"]}
        path = f"{self._url}/commands/{command['id']}"
        return insist(lambda: self._session.patch(path, json=body, timeout=10), until=until)


class Callers:
    """Threads that queue commands with a key each, and keep what they were told."""

    def __init__(self, operator: Operator, devices: list[str], *, threads: int) -> None:
        self.told: dict[str, str] = {}
        self.given_up = 0
        self._operator = operator
        self._devices = devices
        self._ended = threading.Event()
        self._threads = [
            threading.Thread(target=self._call, args=(number,), daemon=True)
            for number in range(threads)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join(PATIENCE_S + 15)

    def _call(self, number: int) -> None:
        turn = number
        while not self._ended.is_set():
            key = str(uuid.uuid4())
            device = self._devices[turn % len(self._devices)]
            turn += 1
            command = None
            until = time.monotonic() + PATIENCE_S
            try:
                command = self._operator.queue(device, key=key, until=until)
            except requests.HTTPError as refusal:
                if refusal.response.status_code != 409:  # A full queue: the devices are slower.
                    raise
                time.sleep(PAUSE_S)
                continue
            if command is None:
                self.given_up += 1
            else:
                self.told[key] = command
            time.sleep(0.02)
