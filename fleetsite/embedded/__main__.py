"""`python -m fleetsite.embedded run -- COMMAND...`: run COMMAND against throw-away servers.

A DATABASE_URL or REDIS_URL that is already set is used instead of the server it names.
"""

import os
import signal
import subprocess
import sys
from pathlib import Path

from fleetsite.embedded.errors import EmbeddedError
from fleetsite.embedded.throwaway import start_for_tests

PROJECT = Path(__file__).resolve().parents[2]
USAGE = "usage: python -m fleetsite.embedded run -- COMMAND [ARGUMENT...]"


def main(arguments: list[str]) -> int:
    if arguments[:2] != ["run", "--"] or len(arguments) < 3:
        sys.stderr.write(USAGE + "\n")
        return 2
    # The default would end this process without ending the servers.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        found, stop = start_for_tests(
            PROJECT / ".test-servers",
            postgres="DATABASE_URL" not in os.environ,
            valkey="REDIS_URL" not in os.environ,
        )
    except EmbeddedError as problem:
        sys.stderr.write(f"{problem}\n")
        return 1
    try:
        return subprocess.run(arguments[2:], env={**found, **os.environ}, check=False).returncode
    except FileNotFoundError:
        sys.stderr.write(f"There is no program {arguments[2]}.\n")
        return 127
    finally:
        stop()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
