"""Every heartbeat that was answered is there after a kill -9."""

import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import psycopg

from bench.heartbeat.contenders import PROJECT, Contender
from bench.heartbeat.fleet import device_name
from fleetsite.embedded.servers import Servers

LOAD_S = 4.0
KILL_AFTER_S = 2.5


def survivors(
    *, contender: Contender, devices: int, database_url: str, kill: Callable[[], None]
) -> tuple[int, int]:
    """Kill something under load; return how many heartbeats were answered and how many are there.

    `kill` ends something and brings it back.
    """
    with tempfile.TemporaryDirectory() as directory:
        journal = Path(directory) / "journal.json"
        load = subprocess.Popen(
            [
                *[sys.executable, "-m", "bench.heartbeat.generator", "--port", str(contender.port)],
                *["--connections", "64", "--devices", str(devices), "--seconds", str(LOAD_S)],
                *["--warm-up", "0", "--journal", str(journal)],
            ],
            cwd=PROJECT,
            stdout=subprocess.DEVNULL,
        )
        time.sleep(KILL_AFTER_S)
        kill()
        load.wait(60)
        kept = json.loads(journal.read_text())
    return len(kept["answered"]), _present(database_url, kept["boot"], kept["answered"])


def _present(database_url: str, boot: str, answered: list[list[int]]) -> int:
    names = {number: device_name(number) for number, _ in answered}
    with psycopg.connect(database_url) as connection:
        rows = connection.execute(
            "SELECT d.device_id, h.sequence FROM devices_heartbeat h"
            " JOIN devices_device d ON d.id = h.device_id WHERE h.boot_id = %s",
            [boot],
        ).fetchall()
    stored = set(rows)
    return sum((names[number], sequence) in stored for number, sequence in answered)


def kill_gateway(contender: Contender) -> None:
    """Kill -9 the gateway and start it again."""
    contender.kill()
    contender.start()


def kill_postgres(servers: Servers) -> None:
    """Kill -9 every process of PostgreSQL and start it again."""
    (postgres,) = [part for part in servers.parts if part.name == "postgres"]
    for process in postgres.processes():
        process.send_signal(signal.SIGKILL)
    postgres.start()
