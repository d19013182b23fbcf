"""Everybody who may ask the portal, over real connections to a real server."""

import asyncio
import time
from typing import Any

from bench.asking import Line
from bench.heartbeat.fleet import API_KEY, ORGANIZATION, device_name, token
from bench.portal import Portal

EMAIL = "bench@example.org"
# The first requests of a connection open connections and load modules.
WARM = 50


def administrator() -> Any:
    """Return the admin of the organisation, made at the first call."""
    from accounts.models import Organization, User
    from accounts.tests.factories import MembershipFactory

    found = User.objects.filter(email=EMAIL).first()
    if found is not None:
        return found
    organization = Organization.objects.get(pk=ORGANIZATION)
    made = MembershipFactory(organization=organization, role="admin", user__email=EMAIL)
    return made.user


def proofs() -> dict[str, str]:
    """Return for each kind of caller but devices the header it proves itself with."""
    from accounts.services.sign_in import tokens_issue
    from common import clock

    access = tokens_issue(user=administrator(), now=clock.now()).access
    return {
        "person, token": f"Authorization: Bearer {access}",
        "person, session": f"Cookie: sessionid={_session()}",
        "API key": f"X-API-Key: {API_KEY}",
    }


def of_device(number: int) -> str:
    return f"X-Device-Token: {token(number)}"


def _session() -> str:
    from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
    from django.contrib.sessions.backends.db import SessionStore

    user = administrator()
    session = SessionStore()
    session[SESSION_KEY] = str(user.pk)
    session[BACKEND_SESSION_KEY] = "accounts.backends.PortalBackend"
    session[HASH_SESSION_KEY] = user.get_session_auth_hash()
    session.save()
    return str(session.session_key)


def request(proof: str, path: str, *, body: bytes | None = None) -> bytes:
    method = "GET" if body is None else "POST"
    head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n{proof}\r\n"
    if body is not None:
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return f"{head}\r\n".encode() + (body or b"")


def ask(ours: Portal, requests: list[bytes], *, wanted: int = 200) -> list[float]:
    """Send requests one after the other; return how long each took. Raises for other answers."""
    return asyncio.run(_ask(ours.port, requests, wanted))


async def _ask(port: int, requests: list[bytes], wanted: int) -> list[float]:
    line = await Line.to(port)
    took = []
    for one in requests:
        begun = time.perf_counter()
        status, body = await line.ask(one)
        took.append(time.perf_counter() - begun)
        if status != wanted:
            raise RuntimeError(f"{one[:60]!r} was answered with {status}: {body[:200]!r}")
    line.close()
    return took


def eligibility(ours: Portal, version: str, *, asking: int, count: int) -> dict[str, list[float]]:
    """Return how long each kind of caller waits for the gates of a device."""
    path = f"/api/v1/releases/{version}/eligibility/"
    names = [device_name(number % asking) for number in range(count + WARM)]
    took = {
        who: ask(ours, [request(proof, path + name) for name in names])[WARM:]
        for who, proof in proofs().items()
    }
    own = [request(of_device(at % asking), path + name) for at, name in enumerate(names)]
    return {"device": ask(ours, own)[WARM:], **took}


def update_requests(numbers: range) -> list[bytes]:
    return [
        request(of_device(number), f"/api/v1/devices/{device_name(number)}/update")
        for number in numbers
    ]


def statuses_at_once(ours: Portal, requests: list[bytes], askers: int) -> tuple[float, list[int]]:
    """Let so many ask at once until all requests are sent; return the time and what was said."""
    return asyncio.run(_at_once(ours.port, requests, askers))


async def _at_once(port: int, requests: list[bytes], askers: int) -> tuple[float, list[int]]:
    waiting = list(requests)
    said: list[int] = []

    async def one(line: Line) -> None:
        while waiting:
            status, _ = await line.ask(waiting.pop())
            said.append(status)
        line.close()

    lines = [await Line.to(port) for _ in range(askers)]
    begun = time.perf_counter()
    await asyncio.gather(*(one(line) for line in lines))
    return time.perf_counter() - begun, said
