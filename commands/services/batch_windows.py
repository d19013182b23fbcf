"""The hours of a day in which a batch may begin commands."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Any, Self
from zoneinfo import ZoneInfo

from commands.errors import PlanRefused

DAY_MINUTES = 24 * 60
# Days from Monday, 0, as datetime.weekday counts.
EVERY_DAY = list(range(7))


@dataclass(frozen=True)
class Span:
    """One opening of a window; `closes` no longer belongs to it."""

    opens: datetime
    closes: datetime


@dataclass(frozen=True)
class Window:
    """From `start` on, by the clock on the wall of `zone`, for `duration`, on some days.

    The duration is real time: on the night the clocks change it is neither longer nor shorter. A
    start the clocks jump over is as long after midnight as it would have been.
    """

    start: time
    duration: timedelta
    zone: ZoneInfo
    days: frozenset[int]

    @classmethod
    def stored(cls, values: Mapping[str, Any]) -> Self:
        """Return the window a batch keeps as JSON. Raises PlanRefused for a zone nobody knows."""
        try:
            zone = ZoneInfo(values.get("timezone") or "UTC")
        except (KeyError, ValueError, OSError):
            # Unknown, or no name of a zone at all: a path, a folder of zones.
            raise PlanRefused(
                f"There is no time zone “{values.get('timezone')}”. Use one like Europe/Berlin."
            ) from None
        return cls(
            start=time.fromisoformat(values["start"]),
            duration=timedelta(minutes=values["duration_minutes"]),
            zone=zone,
            days=frozenset(values.get("days") or EVERY_DAY),
        )

    def span(self, now: datetime) -> Span:
        """Return the opening `now` lies in, or else the next one."""
        today = now.astimezone(self.zone).date()
        # Yesterday's may still be open; a week later every weekday has come.
        for offset in range(-1, 9):
            date = today + timedelta(days=offset)
            opens = datetime.combine(date, self.start, self.zone).astimezone(UTC)
            if date.weekday() in self.days and now < opens + self.duration:
                return Span(opens, opens + self.duration)
        raise AssertionError("A window without a day cannot be stored.")

    def is_open(self, now: datetime) -> bool:
        """Say whether commands may begin now."""
        return self.span(now).opens <= now
