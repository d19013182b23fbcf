"""Windows and blackouts as lines of text, and back."""

import re
from datetime import UTC, datetime
from typing import Any

from django import forms
from unfold.widgets import UnfoldAdminTextareaWidget

from common import limits

DAYS = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]
_DAY_MINUTES = 24 * 60
_DAY = "(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)"
_CLOCK = r"(?:[01]\d|2[0-3]):[0-5]\d"
_window = re.compile(
    rf"(?:({_DAY}(?:\s*[,-]\s*{_DAY})*)\s+)?({_CLOCK})\s*-\s*({_CLOCK})", re.IGNORECASE
).fullmatch
_MOMENT = r"\d{4}-\d\d-\d\d(?:[ T]\d\d:\d\d)?"
_blackout = re.compile(rf"({_MOMENT})\s+to\s+({_MOMENT})(?:\s+(.*))?").fullmatch


def _days_of(words: str) -> list[int]:
    """Return the days of “Mon-Fri, Sun”, from Monday, 0."""
    found: list[int] = []
    for part in words.split(","):
        ends = [DAYS.index(word.strip().capitalize()) for word in part.split("-")]
        first, last = ends[0], ends[-1]
        found += [day % 7 for day in range(first, last + (7 if last < first else 0) + 1)]
    return sorted(set(found))


def _minutes(clock: str) -> int:
    hours, minutes = clock.split(":")
    return int(hours) * 60 + int(minutes)


class _LinesField(forms.CharField):
    """One value per line; `read` returns it or None."""

    most = 0
    example = ""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(
            required=False,
            widget=UnfoldAdminTextareaWidget(attrs={"rows": 4, "placeholder": self.example}),
            **kwargs,
        )

    def clean(self, value: Any) -> Any:
        """Return the values of all lines, or name the line that cannot be read."""
        lines = [line.strip() for line in super().clean(value).splitlines() if line.strip()]
        if len(lines) > self.most:
            raise forms.ValidationError(f"At most {self.most} lines.")
        values = []
        for line in lines:
            found = self.read(line)
            if found is None:
                example = self.example.split("\n", maxsplit=1)[0]
                raise forms.ValidationError(
                    f"“{line[:60]}” cannot be read. Write it like “{example}”."
                )
            values.append(found)
        return values

    def prepare_value(self, value: Any) -> Any:
        """Return stored values as lines; what was typed stays as it was."""
        if not isinstance(value, list):
            return value
        return "\n".join(self.written(one) for one in value)

    def read(self, line: str) -> dict[str, Any] | None:
        raise NotImplementedError

    def written(self, value: dict[str, Any]) -> str:
        raise NotImplementedError

    def has_changed(self, initial: Any, data: Any) -> bool:
        return bool(super().has_changed(self.prepare_value(initial or []), data))


class WindowsField(_LinesField):
    """Hours of days, by the clock of the site."""

    most = limits.CALENDAR_WINDOWS
    example = "Mon-Fri 22:00-04:00\nSat, Sun 00:00-06:00"

    def read(self, line: str) -> dict[str, Any] | None:
        """Return {"start", "duration_minutes", "days"}."""
        found = _window(line)
        if found is None:
            return None
        length = (_minutes(found[3]) - _minutes(found[2])) % _DAY_MINUTES or _DAY_MINUTES
        return {
            "start": found[2],
            "duration_minutes": length,
            "days": _days_of(found[1]) if found[1] else [],
        }

    def written(self, value: dict[str, Any]) -> str:
        """Return the window as it is typed."""
        end = (_minutes(value["start"]) + value["duration_minutes"]) % _DAY_MINUTES
        days = ", ".join(DAYS[day] for day in value.get("days") or [])
        hours = f"{value['start']}-{end // 60:02d}:{end % 60:02d}"
        return f"{days} {hours}" if days else hours


class BlackoutsField(_LinesField):
    """Spans in which nothing is begun, in UTC."""

    most = limits.ROLLOUT_BLACKOUTS
    example = "2026-12-20 to 2027-01-02 Christmas trade"

    def read(self, line: str) -> dict[str, Any] | None:
        """Return {"from", "to", "reason"}."""
        found = _blackout(line)
        if found is None:
            return None
        try:
            first, last = (datetime.fromisoformat(found[n]).replace(tzinfo=UTC) for n in (1, 2))
        except ValueError:
            return None
        return {
            "from": first.isoformat(),
            "to": last.isoformat(),
            "reason": (found[3] or "")[: limits.LINE_CHARS],
        }

    def written(self, value: dict[str, Any]) -> str:
        """Return the blackout as it is typed."""
        ends = [datetime.fromisoformat(value[name]).astimezone(UTC) for name in ("from", "to")]
        first, last = (f"{one:%Y-%m-%d %H:%M}" for one in ends)
        return f"{first} to {last} {value.get('reason', '')}".rstrip()
