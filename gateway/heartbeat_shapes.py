"""One canonical heartbeat out of the shapes devices send: flat, nested, and status only.

Hot path: everything here runs once per heartbeat, so types are checked by msgspec in C and what
is left for Python is a handful of look-ups.
"""

import json
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
from msgspec import Meta, Struct

from common import limits

# Whole numbers every JSON reader keeps exact; also far above any metric.
NUMBER_MAX = float(2**53)
PERCENT_MAX = 10_000.0  # some agents add up the cores
TEMPERATURE_MAX = 1_000_000.0  # some sensors report thousandths of a degree
_POSTGRES_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)

ShortText = Annotated[str, Meta(max_length=limits.SHORT_CHARS)]
Moment = Annotated[datetime, Meta(tz=True)]
Count = Annotated[int, Meta(ge=0, le=limits.BIGINT_MAX)]
SmallCount = Annotated[int, Meta(ge=0, le=limits.INT_MAX)]
Percent = Annotated[float, Meta(ge=0, le=PERCENT_MAX)]
Size = Annotated[float, Meta(ge=0, le=NUMBER_MAX)]
Temperature = Annotated[float, Meta(ge=-TEMPERATURE_MAX, le=TEMPERATURE_MAX)]
Number = Annotated[float, Meta(ge=-NUMBER_MAX, le=NUMBER_MAX)]
Health = Literal["healthy", "degraded", "failed"]
Free = Annotated[dict[ShortText, Any], Meta(max_length=limits.JSON_KEYS)]


class Metrics(Struct, gc=False):
    """The metrics with a column of their own, under every name they are sent by."""

    cpu_percent: Percent | None = None
    mem_percent: Percent | None = None
    memory_percent: Percent | None = None
    disk_percent: Percent | None = None
    disk_free_gb: Size | None = None
    temperature_c: Temperature | None = None
    temperature: Temperature | None = None
    containers_running: SmallCount | None = None
    containers_failed: SmallCount | None = None


class Body(Metrics, gc=False):
    """A heartbeat as it is sent; members that are not here are ignored."""

    device_id: ShortText | None = None
    ts: Moment | None = None
    timestamp: Moment | None = None
    boot_id: ShortText | None = None
    sequence: Count | None = None
    seq: Count | None = None
    version: ShortText | None = None
    agent_version: ShortText | None = None
    commit: ShortText | None = None
    commit_hash: ShortText | None = None
    current_commit_hash: ShortText | None = None
    last_convergence: Moment | None = None
    uptime_seconds: Count | Size | None = None
    health: Health | None = None
    status: Health | Free | None = None
    metrics: Annotated[dict[str, Any], Meta(max_length=limits.JSON_KEYS)] | None = None
    errors: (
        Annotated[
            list[Annotated[str, Meta(max_length=limits.TEXT_CHARS)]],
            Meta(max_length=limits.HEARTBEAT_ERRORS),
        ]
        | None
    ) = None


class Beat(NamedTuple):
    """The canonical form, in the order of the statement's columns.

    Moments are microseconds since 2000-01-01 UTC, PostgreSQL's own count; the last three are JSON.
    """

    ts: int | None
    boot_id: str
    sequence: int | None
    health: str
    version: str
    agent_version: str
    commit: str
    last_convergence: int | None
    uptime_seconds: int | None
    cpu_percent: float | None
    mem_percent: float | None
    disk_percent: float | None
    disk_free_gb: float | None
    temperature_c: float | None
    containers_running: int | None
    containers_failed: int | None
    metrics: bytes | None
    status: bytes | None
    errors: bytes | None


class Unreadable(ValueError):
    """The body is not JSON, or JSON nothing can store."""


class Refused(ValueError):
    """A member has a value that is not accepted; `field` is its dotted path."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(reason)
        self.field = field
        self.reason = reason


CANONICAL = frozenset(Metrics.__struct_fields__)
_SCALARS = (float, bool, type(None))
_FreeMetrics = dict[Annotated[str, Meta(min_length=1, max_length=limits.SHORT_CHARS)], Number | None]
_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


def read_json(raw: bytes) -> Any:
    """Return the value of a JSON text, or raise Unreadable.

    Refused besides bad syntax: NUL, repeated keys, whole numbers beyond 64 bits, nesting and
    objects over the caps of `common.limits`.
    """
    try:
        value = _decode(raw)
        keys = _count_keys(value, 0)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Unreadable(f"{error}") from None
    except RecursionError:
        raise Unreadable("nesting is too deep") from None
    if (
        raw.count(b'":') != keys
        or b" :" in raw
        or b"\n:" in raw
        or b"\t:" in raw
        or b"\r:" in raw
    ):
        _refuse_repeated_keys(raw)
    if b"\\u0000" in raw:
        _refuse_nul(value)
    return value


def _count_keys(value: Any, depth: int) -> int:
    """Count the keys of all objects and check what a column could not hold on the way."""
    if depth > limits.JSON_DEPTH:
        raise Unreadable(f"nesting is deeper than {limits.JSON_DEPTH}")
    kind = type(value)
    if kind is dict:
        count = len(value)
        if count > limits.JSON_KEYS:
            raise Unreadable(f"an object has more than {limits.JSON_KEYS} keys")
        for item in value.values():
            kind = type(item)
            if kind is dict or kind is list or kind is int:
                count += _count_keys(item, depth + 1)
        return count
    if kind is list:
        return sum([_count_keys(item, depth + 1) for item in value])
    if kind is int and not -limits.BIGINT_MAX <= value <= limits.BIGINT_MAX:
        raise Unreadable("a whole number is outside 64 bits")
    return 0


def _refuse_repeated_keys(raw: bytes) -> None:
    """Settle what counting colons could not: text that looks like a key, or a key twice."""

    def unique(pairs: list[tuple[str, Any]]) -> None:
        names = [name for name, _ in pairs]
        if len(set(names)) < len(names):
            raise Unreadable("an object names a key twice")

    json.loads(raw, object_pairs_hook=unique)


def _refuse_nul(value: Any) -> None:
    if isinstance(value, str) and "\x00" in value:
        raise Unreadable("text holds the NUL character")
    if isinstance(value, dict):
        for key, item in value.items():
            _refuse_nul(key)
            _refuse_nul(item)
    elif isinstance(value, list):
        for item in value:
            _refuse_nul(item)


def read_body(value: Any) -> Body:
    """Return the heartbeat a JSON value describes, or raise Refused."""
    return _convert(value, Body, "")


def _convert(value: Any, shape: Any, at: str) -> Any:
    try:
        return msgspec.convert(value, shape)
    except msgspec.ValidationError as error:
        reason, _, path = str(error).partition(" - at `$")
        path = path.rstrip("`").lstrip(".")
        raise Refused(".".join(part for part in (at, path) if part) or "body", reason) from None


def canonical(body: Body) -> Beat:
    """Return the one form that is stored, or raise Refused."""
    sent, free = _metrics(body)
    status = body.status
    sequence = body.sequence
    commit = body.commit or body.commit_hash or body.current_commit_hash
    failed = _first(sent.containers_failed, body.containers_failed)
    uptime = body.uptime_seconds
    return Beat(
        _micros(body.ts or body.timestamp, "ts"),
        body.boot_id or "",
        body.seq if sequence is None else sequence,
        body.health or _health(status, body.errors, failed),
        body.version or "",
        body.agent_version or "",
        commit or "",
        _micros(body.last_convergence, "last_convergence"),
        None if uptime is None else int(uptime),
        _first(sent.cpu_percent, body.cpu_percent),
        _first(sent.mem_percent, sent.memory_percent, body.mem_percent, body.memory_percent),
        _first(sent.disk_percent, body.disk_percent),
        _first(sent.disk_free_gb, body.disk_free_gb),
        _first(sent.temperature_c, sent.temperature, body.temperature_c, body.temperature),
        _first(sent.containers_running, body.containers_running),
        failed,
        free,
        _encode(status) if type(status) is dict and status else None,
        _encode(body.errors) if body.errors else None,
    )


_NOTHING = Metrics()


def _metrics(body: Body) -> tuple[Metrics, bytes | None]:
    """Part the nested metrics into those with a column and the JSON of the others."""
    metrics = body.metrics
    if not metrics:
        return _NOTHING, None
    sent = _convert(metrics, Metrics, "metrics")
    free = {name: value for name, value in metrics.items() if name not in CANONICAL}
    if not free:
        return sent, None
    return sent, _encode(_convert(free, _FreeMetrics, "metrics"))


def _first(*values: Any) -> Any:
    for value in values:
        if value is not None:
            return value
    return None


def _health(status: Any, errors: list[str] | None, containers_failed: int | None) -> str:
    """Return what the device says of itself, or what follows from the rest."""
    if type(status) is str:
        return status
    if errors or containers_failed:
        return "degraded"
    if status:
        level = status.get("degradation_level")
        if type(level) in (int, float) and level > 0:
            return "degraded"
    return "healthy"


def _micros(moment: datetime | None, field: str) -> int | None:
    if moment is None:
        return None
    try:
        span = moment - _POSTGRES_EPOCH
    except OverflowError:
        raise Refused(field, "The moment is outside the calendar") from None
    return (span.days * 86_400 + span.seconds) * 1_000_000 + span.microseconds
