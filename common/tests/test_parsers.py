import io

import pytest
from rest_framework.exceptions import ParseError

from common import limits
from common.parsers import BodyTooLarge, StrictJSONParser


def parse(body):
    return StrictJSONParser().parse(io.BytesIO(body))


def test_json_is_read():
    assert parse(b'{"a": [1, 2.5, null, true, "x"]}') == {"a": [1, 2.5, None, True, "x"]}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\xff",
        b'{"a": NaN}',
        b'{"a": Infinity}',
        b'{"a": 1e999}',
        b'{"a": 9223372036854775808}',
        b'{"a": ' + b"9" * 5000 + b"}",
        b'{"a": "\\u0000"}',
        b'{"\\u0000": 1}',
        b'{"a": "\\ud800"}',
        b"[" * 100_000,
        b"[" * 40 + b"]" * 40,
        b"{" + b",".join(b'"k%d": 1' % n for n in range(limits.JSON_KEYS + 1)) + b"}",
    ],
)
def test_what_cannot_be_stored_is_refused(body):
    with pytest.raises(ParseError):
        parse(body)


def test_a_body_over_its_cap_is_refused():
    with pytest.raises(BodyTooLarge):
        parse(b" " * (limits.BODY_BYTES + 1))
