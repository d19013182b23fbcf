"""When updates may begin: windows of the day, blackouts, and the calendars of sites."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Self
from uuid import UUID

from commands.services.batch_windows import Window
from common import limits
from releases.models import Rollout, SiteCalendar


@dataclass(frozen=True)
class Blackout:
    """Nothing begins from `start` on; `end` no longer belongs to it."""

    start: datetime
    end: datetime
    reason: str = ""

    @classmethod
    def stored(cls, values: Mapping[str, Any]) -> Self:
        """Return the blackout a plan or a calendar keeps as JSON."""
        return cls(
            start=datetime.fromisoformat(values["from"]),
            end=datetime.fromisoformat(values["to"]),
            reason=values.get("reason", ""),
        )

    def covers(self, moment: datetime) -> bool:
        """Say whether the moment belongs to it."""
        return self.start <= moment < self.end


def blackout_at(stored: Iterable[Mapping[str, Any]], moment: datetime) -> Blackout | None:
    """Return the blackout that lasts longest of those over the moment, or None."""
    over = [one for one in map(Blackout.stored, stored) if one.covers(moment)]
    return max(over, key=lambda one: one.end, default=None)


@dataclass(frozen=True)
class Opening:
    """Windows, any of which may be open, and blackouts, none of which may be on."""

    windows: Sequence[Window] = ()
    blackouts: Sequence[Blackout] = ()

    @classmethod
    def of_calendar(cls, calendar: SiteCalendar) -> Self:
        """Return the opening times of a site."""
        return cls(
            windows=[
                Window.stored({**one, "timezone": calendar.timezone}) for one in calendar.windows
            ],
            blackouts=[Blackout.stored(one) for one in calendar.blackouts],
        )

    @classmethod
    def of_plan(
        cls, window: Mapping[str, Any] | None, blackouts: Iterable[Mapping[str, Any]]
    ) -> Self:
        """Return the opening times of a plan itself, its devices' sites aside."""
        return cls(
            windows=[Window.stored(window)] if window else [],
            blackouts=[Blackout.stored(one) for one in blackouts],
        )

    @classmethod
    def of_rollout(cls, rollout: Rollout) -> Self:
        """Return the opening times of a rollout itself."""
        return cls.of_plan(rollout.window, rollout.blackouts)

    def is_open(self, moment: datetime) -> bool:
        """Say whether updates may begin at the moment."""
        if any(one.covers(moment) for one in self.blackouts):
            return False
        return not self.windows or any(one.is_open(moment) for one in self.windows)

    def opens_at(self, moment: datetime) -> datetime | None:
        """Return the first moment from `moment` on at which updates may begin.

        None where blackouts leave nothing of the openings looked at.
        """
        for _ in range(2 * limits.ROLLOUT_BLACKOUTS):
            over = [one.end for one in self.blackouts if one.covers(moment)]
            if over:
                moment = max(over)
            elif self.is_open(moment):
                return moment
            else:
                moment = min(one.span(moment).opens for one in self.windows)
        return None

    def hours(self, start: datetime, count: int) -> list[bool]:
        """Say for each of the hours from `start` on whether updates may begin in its middle."""
        half = timedelta(minutes=30)
        return [self.is_open(start + timedelta(hours=hour) + half) for hour in range(count)]


def closed_sites(*, organization_id: UUID, now: datetime) -> list[str]:
    """Return the sites whose calendar is closed now."""
    calendars = SiteCalendar.objects.filter(organization_id=organization_id)
    return [one.site for one in calendars if not Opening.of_calendar(one).is_open(now)]
