"""One canonical heartbeat out of the shapes devices send: flat, nested, and status only.

Hot path: everything here runs once per heartbeat, so types are checked by msgspec in C and what
is left for Python is a handful of look-ups.
"""

import json
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from common import limits

# Whole numbers every JSON reader keeps exact; also far above any metric.
NUMBER_MAX = float(2**53)
PERCENT_MAX = 10_000.0  # some agents add up the cores
TEMPERATURE_MAX = 1_000_000.0  # some sensors report thousandths of a degree
_POSTGRES_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
# Years 1 to 9999: what Python can read back.
_FIRST, _LAST = (
    (bound.replace(tzinfo=UTC) - _POSTGRES_EPOCH) // timedelta(microseconds=1)
    for bound in (datetime.min, datetime.max)  # noqa: DTZ901 - UTC is put in above
)

ShortText = Annotated[str, Meta(max_length=limits.SHORT_CHARS)]
Moment = datetime  # without a time zone it is UTC
Count = Annotated[int, Meta(ge=0, le=limits.BIGINT_MAX)]
SmallCount = Annotated[int, Meta(ge=0, le=limits.INT_MAX)]
Percent = Annotated[float, Meta(ge=0, le=PERCENT_MAX)]
Size = Annotated[float, Meta(ge=0, le=NUMBER_MAX)]
Temperature = Annotated[float, Meta(ge=-TEMPERATURE_MAX, le=TEMPERATURE_MAX)]
Health = Literal["healthy", "degraded", "failed"]


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
    status: Health | dict[str, Any] | None = None
    metrics: Metrics | None = None
    errors: (
        Annotated[
            list[Annotated[str, Meta(max_length=limits.TEXT_CHARS)]],
            Meta(max_length=limits.HEARTBEAT_ERRORS),
        ]
        | None
    ) = None


# The canonical form, in the order of the statement's columns. A plain tuple: made once per
# heartbeat and taken apart once. Moments are microseconds since 2000-01-01 UTC, PostgreSQL's own
# count; the last three are JSON texts.
Beat = tuple[Any, ...]
TS, BOOT_ID, SEQUENCE, HEALTH = range(4)


class Unreadable(ValueError):
    """The body is not JSON, or JSON nothing can store."""


class Refused(ValueError):
    """A member has a value that is not accepted; `field` is its dotted path."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(reason)
        self.field = field
        self.reason = reason


CANONICAL = frozenset(Metrics.__struct_fields__)
_NOTHING = Metrics()
_INT_MIN, _INT_MAX = -limits.BIGINT_MAX - 1, limits.BIGINT_MAX
_WHITE = b" \t\r\n"
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
    # Every key shows as `":` once the white space is gone: as many as keys in the value means
    # that none is there twice.
    if raw.translate(None, _WHITE).count(b'":') != keys:
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
        items = value.values()
    elif kind is list:
        count, items = 0, value
    else:
        count, items = 0, (value,)
    for item in items:
        kind = type(item)
        if kind is dict or kind is list:
            count += _count_keys(item, depth + 1)
        elif kind is int and not _INT_MIN <= item <= _INT_MAX:
            raise Unreadable("a whole number is outside 64 bits")
    return count


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


def read_beat(value: Any) -> tuple[Beat, str | None]:
    """Return the canonical form of a heartbeat and the device id in it, or raise Refused."""
    try:
        body = msgspec.convert(value, Body)
    except msgspec.ValidationError:
        body = _convert_whole_numbers(value)
    return _canonical(body, value.get("metrics")), body.device_id


def _convert_whole_numbers(value: Any) -> Body:
    """Try again with 5.0 as 5: JSON knows one kind of number only."""
    try:
        return msgspec.convert(_whole(value), Body)
    except msgspec.ValidationError as error:
        reason, _, path = str(error).partition(" - at `$")
        raise Refused(path.rstrip("`").lstrip(".") or "body", reason) from None


def _whole(value: Any) -> Any:
    if type(value) is float and value.is_integer() and abs(value) <= NUMBER_MAX:
        return int(value)
    if type(value) is dict:
        return {
            name: _whole(item) if type(item) is not list else item for name, item in value.items()
        }
    return value


def _canonical(body: Body, metrics: dict[str, Any] | None) -> Beat:
    sent = body.metrics or _NOTHING
    status, sequence, moment = body.status, body.sequence, body.ts or body.timestamp
    uptime, failed = body.uptime_seconds, _first(sent.containers_failed, body.containers_failed)
    return (
        None if moment is None else _micros(moment, "ts"),
        body.boot_id or "",
        body.seq if sequence is None else sequence,
        body.health or _health(status, body.errors, failed),
        body.version or "",
        body.agent_version or "",
        body.commit or body.commit_hash or body.current_commit_hash or "",
        _micros(body.last_convergence, "last_convergence") if body.last_convergence else None,
        None if uptime is None else int(uptime),
        _first(sent.cpu_percent, body.cpu_percent),
        _first(sent.mem_percent, sent.memory_percent, body.mem_percent, body.memory_percent),
        _first(sent.disk_percent, body.disk_percent),
        _first(sent.disk_free_gb, body.disk_free_gb),
        _first(sent.temperature_c, sent.temperature, body.temperature_c, body.temperature),
        _first(sent.containers_running, body.containers_running),
        failed,
        _free_metrics(metrics) if metrics else None,
        _encode(status) if type(status) is dict and status else None,
        _encode(body.errors) if body.errors else None,
    )


def _free_metrics(metrics: dict[str, Any]) -> bytes | None:
    """Return the metrics without a column of their own as JSON, or raise Refused."""
    free = {name: value for name, value in metrics.items() if name not in CANONICAL}
    for name, value in free.items():
        kind = type(value)
        if kind is not float and kind is not int and value is not None:
            raise Refused(f"metrics.{name[:64]}", "Expected a number")
        if value is not None and not -NUMBER_MAX <= value <= NUMBER_MAX:
            raise Refused(f"metrics.{name[:64]}", f"Expected a number within ±{NUMBER_MAX:.0f}")
        if not 0 < len(name) <= limits.SHORT_CHARS:
            raise Refused("metrics", f"Expected names of 1 to {limits.SHORT_CHARS} characters")
    return _encode(free) if free else None


def _first(value: Any, *others: Any) -> Any:
    if value is not None:
        return value
    for other in others:
        if other is not None:
            return other
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


def _micros(moment: datetime, field: str) -> int:
    span = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - _POSTGRES_EPOCH
    micros = (span.days * 86_400 + span.seconds) * 1_000_000 + span.microseconds
    if not _FIRST <= micros <= _LAST:
        raise Refused(field, "Expected a moment of the years 1 to 9999 UTC")
    return micros
