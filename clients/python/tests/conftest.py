"""Fixtures of the client's tests. They need neither Django nor any server."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Dict, Optional

import anyio
import pytest

TESTS_DIR = Path(__file__).parent
# The tree is tested, not an installed copy, under every import mode of pytest.
for directory in (TESTS_DIR, TESTS_DIR.parent):
    if str(directory) not in sys.path:
        sys.path.insert(0, str(directory))

from faulty_portal import API_KEY, FaultyPortal  # noqa: E402

from fleet_client import AsyncFleetClient, FleetClient, Retries  # noqa: E402

QUICK = Retries(attempts=4, base_s=0.01, cap_s=0.02, patience_s=5.0)


@pytest.fixture
def portal() -> Iterator[FaultyPortal]:
    faulty = FaultyPortal()
    yield faulty
    faulty.stop()


def blocking(url: str, act: Callable[[Any], Any], **settings: Any) -> Any:
    with FleetClient(url, **settings) as client:
        outcome = act(client)
        return list(outcome) if hasattr(outcome, "__next__") else outcome


def awaited(url: str, act: Callable[[Any], Any], **settings: Any) -> Any:
    async def run() -> Any:
        async with AsyncFleetClient(url, **settings) as client:
            outcome = act(client)
            if hasattr(outcome, "__aiter__"):
                return [item async for item in outcome]
            return await outcome

    return anyio.run(run)


@pytest.fixture(params=[blocking, awaited], ids=["blocking", "awaited"])
def do(request: pytest.FixtureRequest, portal: FaultyPortal) -> Callable[..., Any]:
    """Do something with either client: `do(lambda fleet: fleet.devices.get("kiosk-1"))`."""

    def run(act: Callable[[Any], Any], **settings: Any) -> Any:
        if not {"email", "token"} & set(settings):
            settings.setdefault("api_key", API_KEY)
        return request.param(portal.url, act, **{"retries": QUICK, **settings})

    return run


@pytest.fixture
def environment(portal: FaultyPortal, tmp_path: Path) -> Dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL") if name in os.environ}
    return {
        **kept,
        "HOME": str(tmp_path),
        "PYTHONPATH": str(TESTS_DIR.parent),
        "PYTHONIOENCODING": "utf-8",
        "FLEET_URL": portal.url,
        "FLEET_API_KEY": API_KEY,
    }


@pytest.fixture
def fleet(environment: Dict[str, str], tmp_path: Path) -> Callable[..., Any]:
    """Run the program: `fleet("devices", "list")`; keywords change the environment."""

    def run(*arguments: str, text: str = "", **changes: Optional[str]) -> Any:
        changed = {**environment, **changes}
        return subprocess.run(
            [sys.executable, "-m", "fleet_client", *arguments],
            env={name: value for name, value in changed.items() if value is not None},
            cwd=tmp_path,
            input=text,
            capture_output=True,
            encoding="utf-8",
            timeout=30,
            check=False,
        )

    return run
