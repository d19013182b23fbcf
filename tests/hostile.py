"""Values nobody means well with, and what is right about the answer to one."""

import json
from typing import Any

SLOW_S = 2.0
# What a caller must never read: the inside of the portal.
INSIDE = ["Traceback", "psycopg", "SELECT ", "INSERT ", "site-packages", "DETAIL:", "django.db"]

# JSON texts to put where a value belongs.
VALUES = {
    "null": b"null",
    "empty": b'""',
    "list": b"[]",
    "list of lists": b"[[],[[1]],{}]",
    "object": b'{"a":{"b":[null]}}',
    "long": b'"' + b"x" * 70_000 + b'"',
    "first day": b'"0001-01-01T00:00:00+14:00"',
    "last day": b'"9999-12-31T23:59:59-14:00"',
    "control characters": b'"\\u0001\\u001f\\u007f\\u200f\\ufeff"',
    "formula": b"\"=cmd|'/c calc'!A1\"",
}
# Those no endpoint sees: what reads the body refuses them wherever they stand.
UNSTORABLE = {
    "beyond 64 bits": b"9223372036854775808",
    "negative": b"-9223372036854775809",
    "nul": b'"a\\u0000b"',
    "half a surrogate": b'"\\ud800"',
    "not a number": b"NaN",
    "infinity": b"-Infinity",
    "too large a float": b"1e999",
    "not utf-8": b'"\xff\xfe"',
}

# Bodies an endpoint sees.
WHOLE = {
    "nothing": b"",
    "null": b"null",
    "list": b"[]",
    "text": b'"text"',
    "number": b"1",
    "many small keys": b"{" + b",".join(b'"k%d":1' % n for n in range(5_000)) + b"}",
    "repeated keys": b'{"name": "a", "name": "b", "device_id": "x", "device_id": "y"}',
    "own prototype": b'{"__proto__": {"a": 1}, "constructor": 1, "__class__": 1}',
}
# Those it does not.
UNREAD = {
    "nul in a key": b'{"a\\u0000b": 1}',
    "half a surrogate in a key": b'{"\\udfff": 1}',
    "half": b'{"a": ',
    "two": b"{}{}",
    "byte order mark": b"\xef\xbb\xbf{}",
    "utf-16": '{"name": "a"}'.encode("utf-16"),
    "not utf-8": b'{"name": "\xff"}',
    "deep list": b"[" * 100_000,
    "closed deep list": b"[" * 100_000 + b"]" * 100_000,
    "deep object": b'{"a":' * 100_000,
    "deep member": b'{"metadata":' + b"[" * 1_000 + b"]" * 1_000 + b"}",
    "ten megabytes": b'{"name": "' + b"x" * 10_000_000 + b'"}',
    "many keys": b"{" + b",".join(b'"k%d":1' % n for n in range(100_000)) + b"}",
}
CONTENT_TYPES = [
    "text/plain",
    "application/xml",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x",
    "multipart/form-data",
    "application/json; charset=utf-16",
    "application/json; charset=nothing",
    "application/problem+json",
    "nonsense",
    "",
]
PATHS = [
    "%00", "a%00b", "%ff", "..%2f..%2fetc", "x" * 5_000, "%F0%9F%92%A9", "-", "a b", "'--",
    "%0d%0a",
]  # fmt: skip
QUERIES = [
    "", "-1", "1e30", "9" * 5_000, "\x00", "a\x00b", "\udcff", "'--", "x" * 9_000, "NaN", ",",
    "0001-01-01T00:00:00Z", "9999-12-31T23:59:59+14:00", "9999-12-31T23:59:59-14:00",
    "0748-08-27T01:06:25-22:27", "2026-13-45", "__class__", "device__organization__name",
]  # fmt: skip
CURSORS = [
    "p=zebra", "p=2026-01-01", "p=0001-01-01T00:00:00+00:00", "p=9999-12-31T23:59:59-14:00",
    "o=-1", "o=99999999999999999999", "r=1&p=x", "p=\x00", "p=" + "9" * 400, "r=1&o=5&p=NaN", "",
]  # fmt: skip


def faults(status: int, content_type: str, body: bytes, took: float) -> list[str]:
    """Return what is wrong with an answer to a hostile request."""
    text = body.decode("utf-8", "replace")
    wrong = [f"tells of “{word}”" for word in INSIDE if word in text]
    if status >= 500:
        wrong.append(f"answered {status}")
    if took > SLOW_S:
        wrong.append(f"took {took:.1f} s")
    if 400 <= status < 500:
        if content_type != "application/problem+json":
            wrong.append(f"refused with {status} as {content_type}")
        else:
            problem = json.loads(body)
            if problem["status"] != status or not problem["code"] or not problem["detail"]:
                wrong.append(f"refused with {problem}")
    return wrong


def with_value(body: Any, name: str, text: bytes) -> bytes:
    """Return the body as JSON with one member's value replaced by the text."""
    return json.dumps({**body, name: "@@"}).encode().replace(b'"@@"', text)
