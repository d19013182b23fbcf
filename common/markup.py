"""Small pieces of HTML that lists and pages share."""

from collections.abc import Iterable
from datetime import datetime

from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

NOTHING = "\N{EN DASH}"
_STEPS = [(86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")]
_FRESH_S = 5


def span_text(seconds: float) -> str:
    """Return a length of time in its largest unit: “12 s”, “3 h”."""
    whole = int(abs(seconds))
    for size, unit in _STEPS:
        if whole >= size:
            return f"{whole // size} {unit}"
    return "0 s"


def distance_text(moment: datetime, now: datetime) -> str:
    """Return how far a moment is from now, in its largest unit: “3 min ago”, “in 2 h”."""
    seconds = (now - moment).total_seconds()
    if abs(seconds) < _FRESH_S:
        return "just now"
    return f"{span_text(seconds)} ago" if seconds > 0 else f"in {span_text(seconds)}"


def moment(value: datetime | None, *, nothing: str = NOTHING) -> str:
    """Return a moment as its distance from now; the exact time appears on hover."""
    if value is None:
        return nothing
    return format_html(
        '<time class="fp-moment" datetime="{}" title="{} UTC">{}</time>',
        value.isoformat(),
        f"{value:%Y-%m-%d %H:%M:%S}",
        distance_text(value, timezone.now()),
    )


def badge(value: str, label: str = "") -> SafeString:
    """Return a state as a coloured word; the style sheet knows the colour of each state."""
    return format_html('<span class="fp-badge fp-is-{}">{}</span>', value, label or value)


def link(url: str, text: object) -> SafeString:
    return format_html('<a class="fp-link" href="{}">{}</a>', url, text)


def bar(parts: Iterable[tuple[str, int, str]]) -> SafeString:
    """Return counts as one bar of coloured parts: state, weight, words on hover."""
    spans = format_html_join(
        "", '<span class="fp-is-{}" style="flex: {}" title="{}"></span>', parts
    )
    return format_html('<span class="fp-bar">{}</span>', spans)
