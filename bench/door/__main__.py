"""`python -m bench.door`: a plain question to Django behind the gateway, by two handlers in turn.

The portal's handler calls middleware and view in one go of the request's thread, Django's own goes
there and back for each. Printed is how long a device's page of the API takes, and the ratio.
"""

import argparse
import sys
from dataclasses import replace

from bench.heartbeat.contenders import Contender, free_port
from bench.heartbeat.fleet import device_name
from bench.portal import Portal, portal, quantile, say, use_database
from bench.rollouts import callers

DEVICES = 1_000
ROUNDS = 6


def of_django(ours: Portal) -> Contender:
    """Return the same gateway on another port, with Django's own handler."""
    command = [
        part.replace("fleetsite.asgi:application", "bench.door.django_own:application")
        for part in ours.gateway.command
    ]
    environ = {**ours.gateway.environ, "DJANGO_SETTINGS_MODULE": "fleetsite.settings"}
    return Contender("Django's own handler", command, environ, port=free_port())


def measure(handlers: list[Portal], count: int) -> list[dict[str, list[float]]]:
    """Let every kind of caller ask each handler in turn; return seconds by caller."""
    took: list[dict[str, list[float]]] = [{} for _ in handlers]
    proofs = callers.proofs()
    for number in range(ROUNDS):
        for one, mine in zip(handlers, took, strict=True):
            for who, proof in proofs.items():
                names = [device_name(at % DEVICES) for at in range(number, number + count)]
                asked = [callers.request(proof, f"/api/v1/devices/{name}") for name in names]
                # The first ones of a connection warm up what they meet.
                found = callers.ask(one, asked)[count // 10 :]
                mine.setdefault(who, []).extend(found)
    return took


def told(seconds: list[float]) -> str:
    return f"p50 {1e3 * quantile(seconds, 0.5):.1f}, p99 {1e3 * quantile(seconds, 0.99):.1f} ms"


def main() -> int:
    """Measure; exit status 1 when the portal's own handler is the slower one."""
    parser = argparse.ArgumentParser(prog="python -m bench.door", description=__doc__)
    parser.add_argument("--asked", type=int, default=200, help="by a caller in a round")
    options = parser.parse_args()
    with portal(DEVICES) as ours:
        use_database(ours.environ)
        other = of_django(ours)
        other.start()
        try:
            mine, plain = measure([ours, replace(ours, gateway=other)], options.asked)
        finally:
            other.stop()
    ratios = []
    for who, seconds in mine.items():
        ratios.append(quantile(plain[who], 0.5) / quantile(seconds, 0.5))
        say(f"  {who}: {told(seconds)}; Django's own {told(plain[who])}; {ratios[-1]:.2f}x")
    return 0 if min(ratios) > 1 else 1


if __name__ == "__main__":
    sys.exit(main())
