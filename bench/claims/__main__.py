"""`python -m bench.claims`: claims per second over HTTP, none doubled; from queued to started.

The first measurement lets many claimers empty the same queues, round after round. The second
queues single commands for devices that listen on their stream.
"""

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import uuid
from collections import Counter
from datetime import timedelta

from bench.claims import by_stream
from bench.heartbeat.contenders import PROJECT
from bench.heartbeat.fleet import ORGANIZATION, device_name
from bench.portal import Portal, portal, quantile, say, use_database

LEAST_PER_SECOND = 3_000.0
MOST_START_S = 1.0


def queue_many(commands: int, devices: int) -> None:
    """Queue so many commands, spread over the devices."""
    from commands.models import Command
    from common import clock
    from devices.models import Device

    now = clock.now()
    keys = dict(Device.objects.values_list("device_id", "pk"))
    Command.objects.bulk_create(
        Command(
            organization_id=ORGANIZATION,
            device_id=keys[device_name(number % devices)],
            kind="ping",
            sequence=number,
            created_at=now,
            expires_at=now + timedelta(hours=1),
        )
        for number in range(commands)
    )


def queue_one(number: int, command: uuid.UUID) -> None:
    """Queue one command for a device, committed when this returns."""
    from commands.models import Command
    from common import clock
    from devices.models import Device

    now = clock.now()
    Command.objects.create(
        pk=command,
        organization_id=ORGANIZATION,
        device_id=Device.objects.values_list("pk", flat=True).get(device_id=device_name(number)),
        kind="ping",
        created_at=now,
        expires_at=now + timedelta(hours=1),
    )


def one_round(ours: Portal, options: argparse.Namespace) -> tuple[float, int, int]:
    """Return claims per second, commands handed out more than once, and those left over."""
    from commands.models import Command

    Command.objects.all().delete()
    queue_many(options.commands, options.devices)
    done = subprocess.run(
        [
            *[sys.executable, "-m", "bench.claims.claimers", "--port", str(ours.port)],
            *["--claimers", str(options.claimers), "--devices", str(options.devices)],
        ],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(done.stdout)
    times = Counter(found["ids"])
    doubled = sum(count > 1 for count in times.values())
    doubled += Command.objects.filter(attempt__gt=1).count()
    return len(times) / found["seconds"], doubled, options.commands - len(times)


def emptied(ours: Portal, options: argparse.Namespace) -> bool:
    rounds = [one_round(ours, options) for _ in range(options.rounds)]
    rate = statistics.median(one[0] for one in rounds)
    doubled, left = (sum(one[at] for one in rounds) for at in (1, 2))
    rates = ", ".join(f"{one[0]:.0f}" for one in rounds)
    say(f"\n{options.claimers} claimers, {options.commands} commands of {options.devices} devices")
    say(f"  claims per second: {rate:.0f} (rounds: {rates})")
    say(f"  handed out twice: {doubled}, left over: {left} (wanted: 0 and 0)")
    say(f"  against {LEAST_PER_SECOND:.0f} per second: {rate / LEAST_PER_SECOND:.2f}x")
    return not doubled and not left


def started(ours: Portal, options: argparse.Namespace) -> bool:
    from commands.models import Command

    Command.objects.all().delete()
    found = asyncio.run(
        by_stream.measure(
            ours.port,
            devices=options.listeners,
            commands=options.single,
            every_s=0.01,
            queue=queue_one,
        )
    )
    p50, p99 = (quantile(found.latencies, share) for share in (0.5, 0.99))
    say(f"\n{options.single} commands, one by one, for {options.listeners} devices on a stream")
    say(f"  from queued to claimed: p50 {1e3 * p50:.1f} ms, p99 {1e3 * p99:.1f} ms")
    say(f"  never came: {found.missing} (wanted: 0)")
    say(f"  {MOST_START_S:.0f} s against p99: {MOST_START_S / p99 if p99 else 0:.1f}x")
    return not found.missing


def main() -> int:
    """Measure; exit status 1 when a command was doubled or lost. Speed only informs."""
    parser = argparse.ArgumentParser(prog="python -m bench.claims", description=__doc__)
    parser.add_argument("--claimers", type=int, default=50)
    parser.add_argument("--commands", type=int, default=2_000)
    parser.add_argument("--devices", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--listeners", type=int, default=200)
    parser.add_argument("--single", type=int, default=1_000)
    options = parser.parse_args()
    with portal(max(options.devices, options.listeners)) as ours:
        use_database(ours.environ)
        kept = [emptied(ours, options), started(ours, options)]
    say(f"\nexactly once: {'kept' if all(kept) else 'NOT kept'}")
    return 0 if all(kept) else 1


if __name__ == "__main__":
    sys.exit(main())
