"""What the console's templates share with its lists."""

import json
from datetime import datetime
from typing import Any

from django import template

from common import markup
from devices.models import Device
from releases.selectors.recovery import leaving_by

register = template.Library()

register.filter("moment", markup.moment)
register.simple_tag(markup.badge, name="badge")


@register.filter
def never(value: datetime | None) -> str:
    """A moment, or “never”."""
    return markup.moment(value, nothing="never")


@register.filter
def span(seconds: float | None) -> str:
    """A length of time in seconds in its largest unit."""
    return markup.NOTHING if seconds is None else markup.span_text(seconds)


@register.filter
def minutes(count: float) -> str:
    """A number of minutes in its largest unit."""
    return markup.span_text(60 * count)


@register.filter
def total(timings: dict[str, float]) -> float:
    """Seconds of all steps together."""
    return sum(timings.values())


@register.filter
def pretty(value: Any) -> str:
    """A JSON value on several lines."""
    return json.dumps(value, ensure_ascii=False, indent=2, sort_keys=True)


@register.filter
def grade(percent: float | None) -> str:
    """Name how worrying a share of a resource is: calm, high, full."""
    if percent is None:
        return "none"
    return "full" if percent >= 90 else "high" if percent >= 75 else "calm"


@register.simple_tag
def safe_mode_words(device: Device) -> str:
    """How a device in safe mode stands: in it, or about to leave by a redeploy it claimed."""
    leaving = leaving_by(device)
    return f"leaving safe mode: {leaving.to_version} to be proved" if leaving else "safe mode"


@register.filter
def spaced(word: str) -> str:
    """A name of the wire as words."""
    return word.replace("_", " ")
