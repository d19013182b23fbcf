from __future__ import annotations

import logging
import time

import pytest

from fleet_agent.logs import RecentLines, RedactingFormatter
from fleet_agent.redaction import SECRETS, plain_text, remove_secrets


@pytest.mark.parametrize(
    "line",
    [
        "password=hunter2secret", "DB_PASSWORD: 'hunter2secret'", '"api_key": "hunter2secret"',
        "wifi psk=\"hunter2secret with spaces\"", "Authorization: Bearer hunter2secret",
        "postgres://fleet:hunter2secret@db/fleet", "x-device-token=hunter2secret;",
        "-----BEGIN RSA PRIVATE KEY-----\nhunter2secret\n-----END RSA PRIVATE KEY-----",
        "-----BEGIN PRIVATE KEY-----\nhunter2secret cut off",
    ],
)  # fmt: skip
def test_what_looks_like_a_secret_is_removed(line):
    cleaned = remove_secrets(f"before\n{line}\n")

    assert "hunter2secret" not in cleaned
    assert "before" in cleaned


@pytest.mark.parametrize(
    "line",
    ["the token ring is up", "http://host:8000/path", "12:30:01 user@host", "password changed",
     "sha256 " + "ab" * 32],
)  # fmt: skip
def test_what_is_no_secret_stays(line):
    assert remove_secrets(line) == line


@pytest.mark.parametrize("piece", ["a-b.c-", "token", "http://", "x:", "eyJ-.", "Bearer "])
def test_a_long_line_is_cleaned_in_reasonable_time(piece):
    started = time.monotonic()

    remove_secrets(piece * (1_000_000 // len(piece)))

    assert time.monotonic() - started < 10


def test_a_known_secret_is_in_no_log_line_and_no_traceback():
    secret = "s3cr3t-of-this-test-only"
    SECRETS.add(secret)
    recent = RecentLines()
    recent.setFormatter(RedactingFormatter("%(message)s"))
    logger = logging.Logger("own")
    logger.addHandler(recent)

    try:
        int(secret)
    except ValueError:
        logger.exception("token %s", secret)

    assert secret not in recent.text()
    assert "ValueError" in recent.text()


def test_plain_text_keeps_the_end_and_its_bound_in_bytes():
    text = plain_text("\x1b[1mä\x00\r\n" * 1000 + "the reason", max_bytes=500)

    assert len(text.encode()) <= 500
    assert text.endswith("the reason")
    assert "\x00" not in text
