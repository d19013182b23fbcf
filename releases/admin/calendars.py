"""Site calendars in the browser."""

from typing import Any, ClassVar

from django import forms
from django.contrib import admin
from django.http import HttpRequest
from unfold.decorators import display

from accounts.admin_requests import principal_of
from accounts.admin_site import TenantModelAdmin
from accounts.policy import Action
from common import clock
from releases.admin.calendar_fields import BlackoutsField, WindowsField
from releases.models import SiteCalendar
from releases.services.calendars import calendar_create, calendar_delete, calendar_update


class CalendarForm(forms.ModelForm):
    """When a site may be updated."""

    windows = WindowsField(help_text="One per line, by the clock of the site. None: at any time.")
    blackouts = BlackoutsField(help_text="One per line, in UTC: nothing is begun meanwhile.")

    class Meta:
        model = SiteCalendar
        fields = ("site", "timezone", "windows", "blackouts")


@admin.register(SiteCalendar)
class SiteCalendarAdmin(TenantModelAdmin):
    """When devices of a site may be updated."""

    rights: ClassVar[dict[str, Action]] = {
        "view": Action.CALENDAR_READ,
        "add": Action.CALENDAR_MANAGE,
        "change": Action.CALENDAR_MANAGE,
        "delete": Action.CALENDAR_MANAGE,
    }
    form = CalendarForm
    list_display = ["site", "timezone", "hours", "closed"]
    search_fields = ["site"]
    ordering = ["site"]

    def get_readonly_fields(
        self, request: HttpRequest, obj: SiteCalendar | None = None
    ) -> list[str]:
        """A calendar keeps its site."""
        return ["site"] if obj else []

    @display(description="Windows")
    def hours(self, row: SiteCalendar) -> str:
        field = WindowsField()
        return "; ".join(field.written(one) for one in row.windows) or "at any time"

    @display(description="Blackouts")
    def closed(self, row: SiteCalendar) -> str:
        return str(len(row.blackouts) or "none")

    def service_create(
        self, request: HttpRequest, obj: SiteCalendar, entered: dict[str, Any]
    ) -> SiteCalendar:
        values = {name: entered[name] for name in ("timezone", "windows", "blackouts")}
        return calendar_create(
            site=entered["site"], values=values, principal=principal_of(request), now=clock.now()
        )

    def service_update(
        self, request: HttpRequest, obj: SiteCalendar, changes: dict[str, Any]
    ) -> None:
        calendar_update(
            calendar=self.get_queryset(request).get(pk=obj.pk),
            changes=changes,
            principal=principal_of(request),
            now=clock.now(),
        )

    def service_delete(self, request: HttpRequest, obj: SiteCalendar) -> None:
        calendar_delete(calendar=obj, principal=principal_of(request))
