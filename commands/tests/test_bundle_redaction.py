"""What is taken out of a text, and what stays."""

import time

import pytest

from bench.redaction.corpus import FORMATS, PER_FORMAT
from bench.redaction.measure import measure
from commands.bundles.contents.redaction import Redactor


def redacted(*lines: str, path: str = "logs/app.log") -> str:
    redactor = Redactor(path)
    return "\n".join(redactor.line(line) for line in lines)


def test_planted_secrets_are_found_and_log_lines_are_left_alone():
    told = measure(lines=20_000)

    assert told.planted == len(FORMATS) * PER_FORMAT == 200
    assert told.recall >= 0.99, [one.lines for one in told.missed]
    assert told.false_share <= 0.01, told.falsely[:10]


def test_another_seed_changes_nothing_about_that():
    told = measure(lines=5_000, seed=2026)

    assert told.recall >= 0.99, [one.lines for one in told.missed]
    assert told.false_share <= 0.01, told.falsely[:10]


@pytest.mark.parametrize(
    ("line", "kept"),
    [
        ("password=hunter2 user=bob", "[redacted:password]"),
        ("retry with token=abc123&x=1", "retry with token=[redacted:token]&x=1"),
        ('{"psk": "my home wi-fi"}', '{"psk": "[redacted:passphrase]"}'),
        ("psk=my home wi-fi", "psk=[redacted:passphrase]"),
        ('{\\"password\\": \\"x1y2\\"}', '{\\"password\\": \\"[redacted:password]\\"}'),
        ("https://u:p4ss@h/x", "https://u:[redacted:url]@h/x"),
        ("api_keys = ['a1', 'b2']", "api_keys = [[redacted:key]]"),
        ("<psk>a b c</psk>", "<psk>[redacted:named]</psk>"),
        ("--api-key s3cret --once", "--api-key [redacted:command-line] --once"),
    ],
)
def test_the_secret_goes_and_the_rest_stays(line: str, kept: str):
    assert kept in redacted(line)


@pytest.mark.parametrize(
    "line",
    [
        "password=${DB_PASSWORD}",
        "password: [redacted:password]",
        'token = "[removed]"',
        "token_file = /run/secrets/token",
        "max_tokens=4096",
        "passwd: files systemd",
        "PWD=/home/pi",
        "Failed password for root from 10.0.0.1",
        "keyboard: us",
        "sha256:" + "ab" * 32,
    ],
)
def test_what_only_speaks_of_secrets_stays(line: str):
    assert redacted(line) == line


def test_a_private_key_goes_with_all_its_lines_whatever_a_log_writes_before_them():
    key = [
        "-----BEGIN RSA PRIVATE KEY-----",
        "MIIEpAIBAAKCAQEA" * 4,
        "Zm9v",
        "-----END RSA PRIVATE KEY-----",
    ]
    plain = redacted(*key, "after")
    logged = redacted(*[f"Nov 20 10:00:00 host app[1]: {line}" for line in key], "after")

    for kept in (plain, logged):
        assert "MIIE" not in kept
        assert "Zm9v" not in kept
        assert kept.endswith("after")


def test_a_key_that_never_ends_does_not_swallow_the_log():
    kept = redacted("-----BEGIN PRIVATE KEY-----", "Nov 20 10:00:00 host app[1]: all is well (1)")

    assert kept.endswith("all is well (1)")


def test_counts_tell_the_rule():
    redactor = Redactor("a")
    redactor.line("password=one1 token=two2")
    redactor.line("password: three3")

    assert redactor.counts == {"password": 2, "token": 1}


@pytest.mark.parametrize(
    "line",
    [
        *("token" * 13_000, "a." * 32_000, "password" + " " * 60_000, "eyJ" * 20_000),
        *("curl " * 13_000, "name=token " * 6_000, "<token " * 9_000, "token=" * 10_000),
        *("mysql " * 11_000, "key " * 16_000, "-password " * 6_000, '"' * 64_000, "=" * 64_000),
        "://:" * 16_000,
    ],
    ids=lambda line: line[:12],
)
def test_no_line_takes_long(line: str):
    began = time.process_time()
    redacted(line)

    assert time.process_time() - began < 3
