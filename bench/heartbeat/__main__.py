"""`python -m bench.heartbeat`: heartbeats per second beside peers and limits, in one run.

Contenders take turns in short rounds on the same machine and PostgreSQL; medians are compared.
"""

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from bench.heartbeat import durability
from bench.heartbeat.contenders import DRF, EMPTY, FASTAPI, PROJECT, Contender, contenders
from bench.heartbeat.fleet import device_name, seed
from fleetsite.embedded.servers import Servers, keys_of

Figures = dict[str, float]
LEAST_OVER_FASTAPI = 25.0
LEAST_OF_EMPTY = 40.0
MOST_P99_MS = 30.0


def measure(contender: Contender, *, connections: int, devices: int, seconds: float) -> Figures:
    """Run the generator against one contender and return its figures."""
    command = [sys.executable, "-m", "bench.heartbeat.generator", "--port", str(contender.port)]
    command += ["--connections", str(connections), "--devices", str(devices)]
    command += ["--seconds", str(seconds), "--warm-up", "1"]
    if contender.api_key:
        command.append("--api-key")
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True)
    figures: Figures = json.loads(done.stdout)
    return figures


def rounds(
    field: list[Contender], *, connections: int, options: argparse.Namespace
) -> dict[str, Figures]:
    """Let the contenders take turns; return each one's median figures."""
    taken: dict[str, list[Figures]] = {contender.name: [] for contender in field}
    for _ in range(options.rounds):
        for contender in field:
            contender.start()
            figures = measure(
                contender,
                connections=connections,
                devices=options.devices,
                seconds=options.seconds,
            )
            contender.stop()
            taken[contender.name].append(figures)
    return {
        name: {key: statistics.median(one[key] for one in all_) for key in all_[0]}
        for name, all_ in taken.items()
    }


def report(connections: int, found: dict[str, Figures]) -> bool:
    """Print one table with its ratios; return whether the portal keeps what it promises."""
    say(f"\n{connections} connections")
    say(f"  {'':<14}{'per second':>12}{'p50 ms':>9}{'p99 ms':>9}{'errors':>8}")
    for name, one in found.items():
        line = f"{one['rate']:>12.0f}{one['p50']:>9.1f}{one['p99']:>9.1f}{one['errors']:>8.0f}"
        say(f"  {name:<14}{line}")
    ours = found["fleet portal"]
    over = {name: ours["rate"] / one["rate"] for name, one in found.items()}
    # Of peers that were left out nothing is promised.
    kept = True
    if FASTAPI in over:
        say(f"  fleet portal over FastAPI peer: {over[FASTAPI]:.1f}x (wanted: 25.0x)")
        kept = over[FASTAPI] >= LEAST_OVER_FASTAPI
    if DRF in over:
        say(f"  fleet portal over DRF and ORM: {over[DRF]:.1f}x")
    if EMPTY in over:
        share = 100 * over[EMPTY]
        say(f"  fleet portal of empty server: {share:.1f} % ({over[EMPTY]:.2f}x, wanted: 40 %)")
        kept = kept and share >= LEAST_OF_EMPTY
    if connections == 128:
        say(f"  p99 of the fleet portal: {ours['p99']:.1f} ms (wanted: at most {MOST_P99_MS:.0f})")
        kept = kept and ours["p99"] <= MOST_P99_MS
    return kept


def outlive(field: list[Contender], servers: Servers, *, options: argparse.Namespace) -> bool:
    """Kill the gateway, then PostgreSQL, under load; print what is missing afterwards."""
    ours = field[0]
    ours.start()
    kills = {
        "the gateway": lambda: durability.kill_gateway(ours),
        "PostgreSQL": lambda: durability.kill_postgres(servers),
    }
    say("\nAnswered heartbeats after a kill -9")
    lost_any = False
    for what, kill in kills.items():
        answered, present = durability.survivors(
            contender=ours,
            devices=options.devices,
            database_url=servers.urls()["DATABASE_URL"],
            kill=kill,
        )
        say(f"  of {what}: {answered} answered, {present} present, {answered - present} lost")
        lost_any = lost_any or present < answered or not answered
    ours.stop()
    return not lost_any


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def prepare(environ: dict[str, str], devices: int) -> None:
    """Migrate, fill, and make the peer's tables."""
    subprocess.run(
        [sys.executable, "manage.py", "migrate", "--verbosity", "0"],
        cwd=PROJECT,
        env={**os.environ, **environ},
        check=True,
    )
    # WhiteNoise complains about a missing directory; nothing is served from it here.
    (Path(environ["VAR_DIR"]) / "static").mkdir(exist_ok=True)
    seed(environ["DATABASE_URL"], devices)
    os.environ["PEER_DATABASE_URL"] = environ["DATABASE_URL"].replace(
        "postgresql://", "postgresql+asyncpg://"
    )
    from bench.heartbeat import peer_fastapi

    asyncio.run(peer_fastapi.make_tables([device_name(number) for number in range(devices)]))


def main() -> int:
    """Measure; exit status 1 when an answered heartbeat was lost. Speed only informs."""
    parser = argparse.ArgumentParser(prog="python -m bench.heartbeat", description=__doc__)
    parser.add_argument("--devices", type=int, default=1_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--connections", type=int, nargs="+", default=[32, 128])
    parser.add_argument("--beside", nargs="*", default=[FASTAPI, DRF, EMPTY], help="which peers")
    parser.add_argument("--no-kills", action="store_true", help="leave out the kill -9")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fleet-bench-", dir="/tmp") as directory:
        Path(directory).chmod(0o755)
        servers = Servers(directory=Path(directory) / "var", durable=True)
        servers.start()
        try:
            environ = {
                **servers.urls(),
                **keys_of(servers.secrets),
                "VAR_DIR": str(Path(directory) / "var"),
            }
            prepare(environ, options.devices)
            ours, *peers = contenders(environ)
            field = [ours, *(peer for peer in peers if peer.name in options.beside)]
            kept = {
                f"speed at {count} connections": report(
                    count, rounds(field, connections=count, options=options)
                )
                for count in options.connections
            }
            if not options.no_kills:
                kept["durability"] = outlive(field, servers, options=options)
        finally:
            servers.stop()
    say("")
    for promise, holds in kept.items():
        say(f"{promise}: {'kept' if holds else 'NOT kept'}")
    return 0 if kept.get("durability", True) else 1


if __name__ == "__main__":
    sys.exit(main())
