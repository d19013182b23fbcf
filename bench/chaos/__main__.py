"""`python -m bench.chaos [worker] [web] [postgres] [redis]`: kill things, count what is missing.

Everything runs on loopback on servers of its own and ends by itself. Exit status 1 when a promise
did not hold.
"""

import argparse
import shutil
import sys
import tempfile
import time
from pathlib import Path

from bench.chaos.fleet import Operator
from bench.chaos.processes import Processes
from bench.chaos.scenarios import SCENARIOS, Outcome

DEVICES = 40


def run(names: list[str], directory: Path) -> dict[str, Outcome]:
    """Run the scenarios one after the other on one portal."""
    processes = Processes(directory)
    found: dict[str, Outcome] = {}
    try:
        processes.start()
        operator = Operator(processes)
        devices = operator.enroll(DEVICES)
        for name in names:
            started = time.monotonic()
            say(f"\n{(SCENARIOS[name].__doc__ or name).splitlines()[0]}")
            found[name] = SCENARIOS[name](processes, operator, devices)
            took = time.monotonic() - started
            for what, value in found[name].figures.items():
                say(f"  {what}: {value}")
            say(f"  {'kept' if found[name].kept else 'NOT kept'}, {took:.0f} s")
    finally:
        processes.stop()
    return found


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main() -> int:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m bench.chaos", description=__doc__)
    parser.add_argument("scenario", nargs="*", choices=[*SCENARIOS, []], default=[])
    options = parser.parse_args()
    directory = Path(tempfile.mkdtemp(prefix="fleet-chaos-", dir="/tmp"))
    directory.chmod(0o755)
    found = run(options.scenario or list(SCENARIOS), directory)
    if all(outcome.kept for outcome in found.values()):
        shutil.rmtree(directory, ignore_errors=True)
        return 0
    say(f"\nLogs: {directory}")
    return 1


if __name__ == "__main__":
    sys.exit(main())
