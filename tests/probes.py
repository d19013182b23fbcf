"""One probe of the tenant matrix: a request, its answer, and what it did to rows of others."""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, quote_plus, urlencode

from django.test import Client

from tests.calls import content, encoded
from tests.foreign_rows import crossings, fingerprint, rows_written
from tests.identities import Identity
from tests.world import Names, Rows, rolled_back

SAFE = {"GET", "HEAD", "OPTIONS", "TRACE"}
METHODS = ["GET", "HEAD", "OPTIONS", "TRACE", "POST", "PUT", "PATCH", "DELETE"]

# What two answers to the same question may differ in: new ids, secrets, moments, ages.
_VOLATILE = re.compile(
    r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}|\b[0-9a-f]{64}\b|\b(?:fk|et|rt)_\w+"
    r"|\beyJ[\w.-]+|\d{4}-\d\d-\d\d[T ][\d:.]+(?:Z|[+-]\d\d:\d\d)?"
    r"|csrfmiddlewaretoken\S* value=\S+|nonce-\S+|nonce=\S+|\d+ (?:s|min) ago|just now"
    r"|in \d+ (?:s|min)\b|[\d.]+\xa0[KMG]B"
    r"|\"update_id\": ?\d+"
    # The moments in a stream of events, and when to come back.
    r"|\bid: \d{16}|\bretry: \d+|\"retry_ms\":\d+"
    r"|\"first_password\": ?\"\w+\"|\bp=\w+"
)


@dataclass(frozen=True)
class Probe:
    """A request. `names` are those of another's rows, or of none, that stand in it."""

    method: str
    url: str
    names: Names
    body: Any = None
    content_type: str = "application/json"
    query: dict[str, str] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    # The values of a form, whose body is not JSON.
    said: tuple[str, ...] = ()

    def atoms(self) -> set[str]:
        """Return every value the request says."""
        said = {*self.url.split("/"), *self.query.values(), *self.headers.values(), *self.said}
        return said | set(_texts(self.body))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)


@dataclass(frozen=True)
class Answer:
    """What came back, without what the request itself had said."""

    status: int
    text: str
    location: str

    def shape(self) -> tuple[int, str, str]:
        """Return what must be the same for a foreign and an absent name."""
        return self.status, _VOLATILE.sub("~", self.text), _VOLATILE.sub("~", self.location)


def masked(text: str, probe: Probe) -> str:
    """Return the text without the names the request held; they are no news to the caller."""
    said = probe.atoms().intersection(probe.names.values())
    for value in sorted(said, key=len, reverse=True):
        if value.isdigit():
            # A short number stands inside others, in a status say.
            text = re.sub(rf"(?<!\d){value}(?!\d)", "<sent>", text)
            continue
        for form in {value, quote(value), quote_plus(value), json.dumps(value)[1:-1]}:
            text = text.replace(form, "<sent>")
    return text


def send(client: Client, probe: Probe) -> Answer:
    """Send the probe; what it changes stays until the caller undoes it."""
    url = probe.url + (f"?{urlencode(probe.query)}" if probe.query else "")
    response = client.generic(
        probe.method,
        url,
        encoded(probe.body),
        content_type=probe.content_type,
        headers=probe.headers,
    )
    text = content(response).decode("utf-8", "replace")
    location = response.headers.get("Location", "")
    return Answer(int(response.status_code), masked(text, probe), masked(location, probe))


def probed(
    caller: Identity, client: Client, probe: Probe, others: Iterable[Rows]
) -> tuple[Answer, list[str]]:
    """Send the probe and undo it; return the answer and what is wrong."""
    others = list(others)
    after = None
    with rolled_back():
        before = rows_written() if probe.method not in SAFE else 0
        answer = send(client, probe)
        wrong = [*_leaks(answer, others)]
        if answer.status >= 500:
            wrong.append(f"answered {answer.status}")
        # What wrote nothing need not be looked for.
        if probe.method not in SAFE and rows_written() != before:
            after = fingerprint(others)
            wrong += crossings()
    if after is not None and fingerprint(others) != after:
        wrong.append("changed a foreign row")
    place = f"{caller.name}: {probe.method} {probe.url} {probe.query or ''}".strip()
    return answer, [f"{place}: {what}" for what in wrong]


def _leaks(answer: Answer, others: list[Rows]) -> list[str]:
    text = answer.text + answer.location
    found = []
    for rows in others:
        if rows.word in text:
            at = text.index(rows.word)
            found.append(f"holds “{text[max(0, at - 40) : at + 30]}”")
        found += [f"holds the id {one}" for one in rows.ids if one in text]
    return found
