"""When devices of a site may be updated."""

from datetime import datetime
from typing import Any

from django.db import IntegrityError, transaction

from accounts.principals import Principal
from audit import services as audit
from commands.services.batch_windows import Window
from common.ids import uuid7
from releases.errors import RolloutConflict, RolloutRefused
from releases.models import SiteCalendar
from releases.services.openings import Opening
from releases.services.plans import blackouts_check

NAMES = ["timezone", "windows", "blackouts"]


@transaction.atomic
def calendar_create(
    *, site: str, values: dict[str, Any], principal: Principal, now: datetime
) -> SiteCalendar:
    """Give a site its calendar. Raises RolloutConflict when it has one, RolloutRefused."""
    calendar = SiteCalendar(
        id=uuid7(),
        organization=principal.acting_organization(),
        site=site,
        created_at=now,
        **values,
    )
    _check(calendar, now)
    try:
        with transaction.atomic():
            calendar.save(force_insert=True)
    except IntegrityError:
        raise RolloutConflict(f"The site “{site}” has a calendar already: change that.") from None
    _record(calendar, principal, "create", after={"site": site, **_values(calendar)})
    return calendar


@transaction.atomic
def calendar_update(
    *, calendar: SiteCalendar, changes: dict[str, Any], principal: Principal, now: datetime
) -> SiteCalendar:
    """Change when a site is open. Raises RolloutRefused."""
    calendar = SiteCalendar.objects.select_for_update().get(pk=calendar.pk)
    before = _values(calendar)
    for name, value in changes.items():
        setattr(calendar, name, value)
    _check(calendar, now)
    calendar.save(update_fields=list(changes) or None)
    was, becomes = audit.changed(before, _values(calendar))
    _record(calendar, principal, "update", before=was, after=becomes)
    return calendar


@transaction.atomic
def calendar_delete(*, calendar: SiteCalendar, principal: Principal) -> None:
    """Take a site's calendar away: it is open at any time from now on."""
    _record(calendar, principal, "delete", before={"site": calendar.site, **_values(calendar)})
    calendar.delete()


def _values(calendar: SiteCalendar) -> dict[str, Any]:
    return {name: getattr(calendar, name) for name in NAMES}


def _check(calendar: SiteCalendar, now: datetime) -> None:
    # The zone of a calendar without windows is looked at as well.
    Window.stored({"start": "00:00", "duration_minutes": 1, "timezone": calendar.timezone})
    blackouts_check(calendar.blackouts)
    if Opening.of_calendar(calendar).opens_at(now) is None:
        raise RolloutRefused("The blackouts leave nothing of the windows: the site never opens.")


def _record(calendar: SiteCalendar, actor: Principal, verb: str, **said: Any) -> None:
    audit.record(
        actor=actor,
        organization=actor.acting_organization(),
        action=f"calendar.{verb}",
        target=calendar,
        **said,
    )
