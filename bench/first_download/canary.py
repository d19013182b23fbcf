"""A canary that waits on its stream and fetches what it is offered, with the agent's own code."""

import threading
import time
from pathlib import Path

import requests

from fleet_agent.portal import PortalClient
from fleet_agent.settings import ConfigStore
from fleet_agent.updates.manifest import Installed
from fleet_agent.updates.offer import offer_from_answer
from fleet_agent.updates.trust import TrustStore

PATIENCE_S = 60.0


class Canary(threading.Thread):
    """One device. `listens` is set once its stream is open; `first_byte_at` when it has one."""

    def __init__(self, directory: Path, url: str, device_id: str, enrolment_token: str) -> None:
        super().__init__(daemon=True)
        answer = requests.post(
            f"{url}/api/v1/devices/register",
            json={
                "device_id": device_id,
                "name": device_id,
                "platform": "linux",
                "arch": "aarch64",
                "enrollment_token": enrolment_token,
            },
            timeout=10,
        )
        answer.raise_for_status()
        directory.mkdir()
        conf = directory / "fleet.conf"
        lines = [f"FLEET_URL={url}", f"DEVICE_ID={device_id}", "UPDATE_TRUST=staged"]
        conf.write_text("\n".join([*lines, f"DEVICE_TOKEN={answer.json()['token']}", ""]))
        self._portal = PortalClient(ConfigStore(conf))
        self._trust = TrustStore(directory / "trust", self._portal, "staged")
        self.listens = threading.Event()
        self.first_byte_at: float | None = None

    def run(self) -> None:
        """Listen until told; then fetch the first byte of the bundle."""
        path = self._portal.device_path("stream")
        told = b""
        with self._portal.events(path, read_timeout_s=PATIENCE_S) as pieces:
            for piece in pieces:
                told += piece
                if told.endswith(b"event: hello"):
                    self.listens.set()
                if told.endswith(b"event: update_available"):
                    break
        self._fetch()

    def _fetch(self) -> None:
        answer = self._portal.call("GET", self._portal.device_path("update"))
        offer = offer_from_answer(answer)
        self._trust.manifest(
            offer.target_path, offered=offer.offered, installed=Installed(counter=0)
        )
        with self._portal.file(offer.bundle_url, headers={}, read_timeout_s=10) as (_, pieces):
            if next(iter(pieces)):
                self.first_byte_at = time.perf_counter()
