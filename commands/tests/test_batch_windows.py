"""Windows: the wall clock of a zone, over the nights it changes."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from commands.errors import PlanRefused
from commands.services.batch_windows import Window


def window(start: str, minutes: int, zone: str = "Europe/Berlin", **more: Any) -> Window:
    return Window.stored({"start": start, "duration_minutes": minutes, "timezone": zone, **more})


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("now", "opens", "closes"),
    [
        # Winter: 22:00 in Berlin is 21:00 UTC.
        ("2026-01-10T12:00", "2026-01-10T21:00", "2026-01-10T23:00"),
        ("2026-01-10T21:00", "2026-01-10T21:00", "2026-01-10T23:00"),
        ("2026-01-10T22:59:59", "2026-01-10T21:00", "2026-01-10T23:00"),
        ("2026-01-10T23:00", "2026-01-11T21:00", "2026-01-11T23:00"),
        # Summer: 20:00 UTC.
        ("2026-07-10T12:00", "2026-07-10T20:00", "2026-07-10T22:00"),
    ],
)
def test_a_window_opens_by_the_clock_on_the_wall(now: str, opens: str, closes: str):
    span = window("22:00", 120).span(at(now))

    assert (span.opens, span.closes) == (at(opens), at(closes))


def test_a_window_over_midnight_is_yesterdays():
    late = window("23:30", 120)

    assert late.is_open(at("2026-01-11T00:15"))  # 01:15 in Berlin
    assert not late.is_open(at("2026-01-11T00:30"))


def test_the_duration_is_real_time_when_the_clocks_go_back():
    # 2026-10-25, 03:00 becomes 02:00 in Berlin.
    span = window("01:30", 180).span(at("2026-10-24T22:00"))

    assert span.opens == at("2026-10-24T23:30")
    assert span.closes - span.opens == timedelta(hours=3)


def test_a_start_that_happens_twice_is_the_first_one_only():
    twice = window("02:30", 30)

    assert twice.span(at("2026-10-25T00:00")).opens == at("2026-10-25T00:30")
    assert not twice.is_open(at("2026-10-25T01:30"))


def test_a_start_the_clocks_jump_over_still_comes_once():
    # 2026-03-29, 02:00 becomes 03:00 in Berlin.
    span = window("02:30", 30).span(at("2026-03-29T00:00"))

    assert span.opens == at("2026-03-29T01:30")
    assert window("02:30", 30).span(span.closes).opens == at("2026-03-30T00:30")


def test_only_its_days_open_by_the_calendar_of_the_zone():
    # Friday 2026-01-09, 23:30 in Auckland is 10:30 UTC.
    friday = window("23:30", 60, zone="Pacific/Auckland", days=[4])

    assert friday.span(at("2026-01-09T11:00")).opens == at("2026-01-09T10:30")
    assert friday.span(at("2026-01-09T11:30")).opens == at("2026-01-16T10:30")


def test_every_moment_of_a_year_has_an_opening_that_has_not_closed():
    weekly = window("02:30", 90, days=[6])
    now = at("2026-01-01T00:00")
    while now < at("2027-01-01T00:00"):
        span = weekly.span(now)
        assert now < span.closes <= now + timedelta(days=7, hours=3)
        now += timedelta(hours=5)


@pytest.mark.parametrize("zone", ["Mars/Base", "../../etc/passwd", "/etc/passwd", "Europe", "\x00"])
def test_a_zone_nobody_knows_is_refused(zone: str):
    with pytest.raises(PlanRefused):
        window("22:00", 60, zone=zone)
