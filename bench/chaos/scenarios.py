"""One function per trouble; each returns what it counted and whether the promise held."""

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import psycopg
import redis
import requests

from bench.chaos.fleet import Callers, Done, FakeDevice, Operator
from bench.chaos.processes import Processes

ENDED_S = 120.0
PAGE_S = 0.5
ENDED = ("succeeded", "failed", "rejected", "timed_out", "expired", "cancelled")


@dataclass
class Outcome:
    """What was seen; `kept` says whether it is what was promised."""

    kept: bool
    figures: dict[str, object] = field(default_factory=dict)


def _statuses(processes: Processes, commands: list[str]) -> dict[str, str]:
    """Return the status of the commands PostgreSQL has, by id."""
    with psycopg.connect(processes.database_url) as connection:
        rows = connection.execute(
            "SELECT id::text, status FROM commands_command WHERE id = ANY (%s::uuid[])", [commands]
        ).fetchall()
    return dict(rows)


def _now(processes: Processes) -> object:
    with psycopg.connect(processes.database_url) as connection:
        row = connection.execute("SELECT now()").fetchone()
    return row and row[0]


def _wait_ended(processes: Processes, commands: list[str], *, seconds: float) -> float | None:
    """Return after how many seconds all have ended, None when they have not."""
    started = time.monotonic()
    while time.monotonic() - started < seconds:
        found = _statuses(processes, commands)
        if len(found) == len(commands) and all(status in ENDED for status in found.values()):
            return time.monotonic() - started
        time.sleep(0.5)
    return None


def _inside(seconds: float, limit: float) -> str:
    return f"{seconds:.2f} ({limit / max(seconds, 1e-3):.1f}x inside {limit:g})"


@contextmanager
def _working(
    processes: Processes, devices: list[tuple[str, str]], done: Done, *, forgetful: int = 0
) -> Iterator[None]:
    threads = [
        FakeDevice(processes, name, token, done, forgets=number < forgetful)
        for number, (name, token) in enumerate(devices)
    ]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        for thread in threads:
            thread.ended.set()
        for thread in threads:
            thread.join(15)


def worker_kills(
    processes: Processes, operator: Operator, devices: list[tuple[str, str]]
) -> Outcome:
    """Kill -9 the worker ten times over 200 commands, every fourth of them claimed and forgotten.

    Forgotten ones come back only by the sweep that recovers lost leases.
    """
    done = Done()
    until = time.monotonic() + 60
    twenty = devices[:20]
    started = time.monotonic()
    queued = [
        operator.queue(twenty[number % 20][0], key=f"worker-{number}-{started}", until=until)
        for number in range(200)
    ]
    commands = [command for command in queued if command]
    with _working(processes, twenty, done, forgetful=5):
        for _ in range(10):
            time.sleep(3)
            processes.kill("worker")
        took = _wait_ended(processes, commands, seconds=ENDED_S - (time.monotonic() - started))
    found = _statuses(processes, commands)
    lost = len(commands) - sum(status == "succeeded" for status in found.values())
    all_took = time.monotonic() - started
    return Outcome(
        kept=len(commands) == 200 and lost == 0 and done.doubled == 0 and took is not None,
        figures={
            "commands": len(commands),
            "kills": 10,
            "lost": lost,
            "doubled": done.doubled,
            "all ended after s": _inside(all_took, ENDED_S) if took is not None else "never",
        },
    )


def _under_calls(
    processes: Processes,
    operator: Operator,
    devices: list[tuple[str, str]],
    trouble: Callable[[], None],
) -> Outcome:
    """Let callers queue with keys and devices work while there is trouble; then count."""
    done = Done()
    since = _now(processes)
    callers = Callers(operator, [name for name, _ in devices], threads=16)
    with _working(processes, devices, done):
        callers.start()
        trouble()
        time.sleep(2)
        callers.stop()
        told = list(callers.told.values())
        took = _wait_ended(processes, told, seconds=150)
    found = _statuses(processes, told)
    with psycopg.connect(processes.database_url) as connection:
        row = connection.execute(
            "SELECT count(*) FROM commands_command WHERE created_at >= %s", [since]
        ).fetchone()
    stored = row[0] if row else 0
    unreported = [c for c in done.reported if found.get(c) not in (None, "succeeded")]
    keys = len(callers.told)
    return Outcome(
        kept=keys > 0
        and len(set(told)) == keys == stored
        and len(found) == keys
        and done.doubled == 0
        and not unreported
        and callers.given_up == 0
        and took is not None,
        figures={
            "keys": keys,
            "commands": stored,
            "acknowledged and lost": keys - len(found),
            "answered twice with different commands": keys - len(set(told)),
            "doubled effects": done.doubled,
            "acknowledged results lost": len(unreported),
            "callers who gave up": callers.given_up,
        },
    )


def web_kills(processes: Processes, operator: Operator, devices: list[tuple[str, str]]) -> Outcome:
    """Kill -9 web workers and the gateway 50 times under keyed POSTs."""

    def trouble() -> None:
        for number in range(50):
            time.sleep(random.uniform(1.0, 3.0))  # noqa: S311
            if number % 5 == 4:
                processes.kill("gateway")
            else:
                processes.kill_web_worker(number)

    outcome = _under_calls(processes, operator, devices, trouble)
    return Outcome(outcome.kept, {"kills": 50, **outcome.figures})


def postgres_kills(
    processes: Processes, operator: Operator, devices: list[tuple[str, str]]
) -> Outcome:
    """Kill -9 all of PostgreSQL five times under keyed POSTs and reports."""
    back: list[float] = []

    def trouble() -> None:
        for _ in range(5):
            time.sleep(8)
            started = time.monotonic()
            processes.kill_postgres()
            back.append(time.monotonic() - started)

    outcome = _under_calls(processes, operator, devices, trouble)
    return Outcome(
        outcome.kept,
        {"kills": 5, "longest until back, s": f"{max(back):.1f}", **outcome.figures},
    )


class _Pages:
    """Opens pages again and again, and keeps how long each took."""

    def __init__(self, operator: Operator) -> None:
        self.seconds: list[float] = []
        self.failed = 0
        self._operator = operator
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._open, daemon=True)

    def __enter__(self) -> "_Pages":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join(20)

    def _open(self) -> None:
        while not self._ended.is_set():
            for path in ("devices?page_size=50", "commands", "auth/me"):
                started = time.monotonic()
                try:
                    answer = self._operator.get(path)
                    self.failed += answer.status_code >= 500
                except requests.RequestException:
                    self.failed += 1
                self.seconds.append(time.monotonic() - started)
            time.sleep(0.05)

    @property
    def p99(self) -> float:
        return sorted(self.seconds)[int(len(self.seconds) * 0.99)] if self.seconds else 0.0


def redis_trouble(
    processes: Processes, operator: Operator, devices: list[tuple[str, str]]
) -> Outcome:
    """Flush, kill and freeze Redis under load; pages are opened while it is frozen."""
    frozen: dict[str, object] = {}
    p99 = [0.0]

    def trouble() -> None:
        time.sleep(3)
        redis.Redis.from_url(processes.servers.urls()["REDIS_URL"]).flushall()
        time.sleep(3)
        processes.kill_valkey()
        time.sleep(3)
        processes.freeze_valkey(stop=True)
        try:
            with _Pages(operator) as pages:
                time.sleep(60)
        finally:
            processes.freeze_valkey(stop=False)
        p99[0] = pages.p99
        frozen.update(
            {
                "pages opened while frozen": len(pages.seconds),
                "of them failed": pages.failed,
                "p99 of pages, s": _inside(pages.p99, PAGE_S),
            }
        )

    outcome = _under_calls(processes, operator, devices, trouble)
    kept = outcome.kept and p99[0] < PAGE_S and not frozen["of them failed"]
    return Outcome(kept, {**outcome.figures, **frozen})


SCENARIOS: dict[str, Callable[[Processes, Operator, list[tuple[str, str]]], Outcome]] = {
    "worker": worker_kills,
    "web": web_kills,
    "postgres": postgres_kills,
    "redis": redis_trouble,
}
