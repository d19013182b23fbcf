"""`python -m bench.first_download`: from publishing a release to the first byte on a canary.

Each round has a release and a canary of its own, whose stream is open. The clock starts before
`POST publish`, which signs; a rollout is made and started; the sweep schedules; the stream tells;
the canary asks for its offer, checks the signatures from the root on, and requests the bundle.
"""

import argparse
import gzip
import io
import sys
import tarfile
import tempfile
import time
from pathlib import Path
from typing import Any

import requests

from bench.chaos.processes import EMAIL, Processes
from bench.first_download.canary import PATIENCE_S, Canary
from bench.portal import quantile, say

MOST_S = 3.0
COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Operator:
    """Speaks the API as the administrator."""

    def __init__(self, url: str, password: str) -> None:
        self._url = f"{url}/api/v1"
        self._session = requests.Session()
        pair = self.post("/auth/token", {"email": EMAIL, "password": password})
        self._session.headers["Authorization"] = f"Bearer {pair['access']}"

    def post(self, path: str, body: Any = None, *, method: str = "POST") -> Any:
        sent = {"data": body} if isinstance(body, bytes) else {"json": body}
        headers = {"Content-Type": "application/gzip"} if isinstance(body, bytes) else {}
        url = f"{self._url}{path}"
        answer = self._session.request(method, url, headers=headers, timeout=30, **sent)
        if not answer.ok:
            raise RuntimeError(f"{path}: {answer.status_code} {answer.text[:300]}")
        return answer.json()


def bundle() -> bytes:
    """Return a small bundle with a hook."""
    into = io.BytesIO()
    with tarfile.open(fileobj=into, mode="w") as archive:
        member = tarfile.TarInfo("hooks/start")
        text = b"#!/bin/sh\n"
        member.mode, member.size = 0o755, len(text)
        archive.addfile(member, io.BytesIO(text))
    return gzip.compress(into.getvalue())


def one_round(operator: Operator, canary: Canary, device_id: str, version: str) -> float | None:
    """Return the seconds until the first byte; None when it never came."""
    operator.post("/releases", {"version": version, "commit": COMMIT})
    operator.post(f"/releases/{version}/artifacts/any/bundle", bundle())
    operator.post(f"/releases/{version}/validate")
    canary.start()
    if not canary.listens.wait(PATIENCE_S):
        return None
    began = time.perf_counter()
    operator.post(f"/releases/{version}/publish")
    plan = {
        "release": version,
        "selection": {"devices": [device_id]},
        "stages": [{"segment": "canary", "percentage": 100}],
    }
    rollout = operator.post("/rollouts", plan)
    operator.post(f"/rollouts/{rollout['id']}/start")
    canary.join(PATIENCE_S)
    return None if canary.first_byte_at is None else canary.first_byte_at - began


def measured(processes: Processes, directory: Path, rounds: int) -> list[float]:
    operator = Operator(processes.web_url, processes.password)
    token = operator.post("/enrollment-tokens", {"name": "bench", "max_uses": rounds})["token"]
    found = []
    for number in range(rounds):
        device_id = f"canary-{number:03}"
        canary = Canary(directory / device_id, processes.gateway_url, device_id, token)
        operator.post(f"/devices/{device_id}", {"segment": "canary"}, method="PATCH")
        seconds = one_round(operator, canary, device_id, f"1.0.{number}")
        if seconds is not None:
            found.append(seconds)
    return found


def main() -> int:
    """Measure; exit status 1 when a download never began. Speed only informs."""
    parser = argparse.ArgumentParser(prog="python -m bench.first_download", description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fleet-bench-", dir="/tmp") as name:
        directory = Path(name)
        directory.chmod(0o755)
        processes = Processes(directory)
        try:
            processes.start()
            found = measured(processes, directory, options.rounds)
        finally:
            processes.stop()
    p50, p99 = (quantile(found, share) for share in (0.5, 0.99))
    say(f"\n{options.rounds} releases, each for a canary on a stream")
    say(f"  from publish to the bundle's first byte: p50 {p50:.2f} s, p99 {p99:.2f} s")
    say(f"  never came: {options.rounds - len(found)} (wanted: 0)")
    say(f"  {MOST_S:.0f} s against p99: {MOST_S / p99 if p99 else 0:.1f}x")
    return 0 if len(found) == options.rounds else 1


if __name__ == "__main__":
    sys.exit(main())
