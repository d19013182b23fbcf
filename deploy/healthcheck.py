"""Whether this container does its work: `healthcheck.py http` or `healthcheck.py beat`."""

import http
import http.client
import os
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

SCHEDULE = Path("/tmp/beat-schedule")  # noqa: S108 - the container's own
# Beat writes its schedule every three minutes.
OLDEST_SCHEDULE_S = 600


def answers() -> bool:
    line = http.client.HTTPConnection("127.0.0.1", 8000, timeout=4)
    # The portal refuses host names it does not serve.
    host = urlsplit(os.environ["FLEET_URL"]).netloc
    try:
        line.request("GET", "/health", headers={"Host": host})
        return line.getresponse().status == http.HTTPStatus.OK
    except OSError:
        return False


def schedules() -> bool:
    newest = max(
        (found.stat().st_mtime for found in SCHEDULE.parent.glob("beat-schedule*")), default=0
    )
    return time.time() - newest < OLDEST_SCHEDULE_S


if __name__ == "__main__":
    sys.exit(0 if {"http": answers, "beat": schedules}[sys.argv[1]]() else 1)
