"""Calendars of sites over REST."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.generics import ListAPIView
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.base import PortalView, visible_or_404
from accounts.policy import Action
from common import clock, limits
from common.paging import Pages
from releases.api.plan_serializers import BlackoutInput, blackout_plain
from releases.api.rollouts import checked
from releases.models import SiteCalendar
from releases.services import calendars


class CalendarWindowInput(serializers.Serializer):
    """Updates may begin from `start` on, by the clock of the site; no days are all days.

    `days` are weekdays from Monday, 0.
    """

    start = serializers.RegexField(r"^([01]\d|2[0-3]):[0-5]\d$")
    duration_minutes = serializers.IntegerField(min_value=1, max_value=24 * 60)
    days = serializers.ListField(
        child=serializers.IntegerField(min_value=0, max_value=6), max_length=7, default=list
    )


class CalendarChange(serializers.Serializer):
    """When a site may be updated: in any of the windows (none: always), in no blackout."""

    timezone = serializers.CharField(max_length=limits.SHORT_CHARS, required=False)
    windows: Any = serializers.ListSerializer(
        child=CalendarWindowInput(), required=False, max_length=limits.CALENDAR_WINDOWS
    )
    blackouts: Any = serializers.ListSerializer(
        child=BlackoutInput(), required=False, max_length=limits.ROLLOUT_BLACKOUTS
    )


class CalendarInput(CalendarChange):
    """The calendar of a site, as devices name it."""

    site = serializers.CharField(max_length=limits.NAME_CHARS)


class CalendarOutput(serializers.ModelSerializer):
    """When devices of a site may be updated."""

    windows = serializers.ListField(child=serializers.DictField(), read_only=True)
    blackouts = serializers.ListField(child=serializers.DictField(), read_only=True)

    class Meta:
        model = SiteCalendar
        fields = ["id", "site", "timezone", "windows", "blackouts", "created_at"]
        read_only_fields = fields


def _values(given: dict[str, Any]) -> dict[str, Any]:
    """Return the columns of a calendar in JSON values."""
    values = {name: given[name] for name in calendars.NAMES if name in given}
    if "windows" in values:
        values["windows"] = [dict(one) for one in values["windows"]]
    if "blackouts" in values:
        values["blackouts"] = [blackout_plain(one) for one in values["blackouts"]]
    return values


class SiteCalendars(PortalView, ListAPIView[SiteCalendar]):
    """Calendars of the organisation's sites."""

    actions = {"GET": Action.CALENDAR_READ, "POST": Action.CALENDAR_MANAGE}
    serializer_class = CalendarOutput
    queryset = SiteCalendar.objects.none()
    pagination_class = Pages
    search_fields = ["site"]
    ordering_fields = ["site"]
    ordering = ["site"]

    def get_queryset(self) -> Any:
        """Only what the caller may see."""
        return SiteCalendar.objects.visible_to(self.principal)

    @extend_schema(operation_id="site_calendars_list")
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """List calendars by site."""
        return super().get(request, *args, **kwargs)

    @extend_schema(
        operation_id="site_calendars_create", request=CalendarInput, responses={201: CalendarOutput}
    )
    def post(self, request: Request) -> Response:
        """Give a site its calendar."""
        given = checked(CalendarInput, request)
        calendar = calendars.calendar_create(
            site=given["site"], values=_values(given), principal=self.principal, now=clock.now()
        )
        return Response(CalendarOutput(calendar).data, status=201)


class SiteCalendarView(PortalView):
    """One calendar."""

    actions = {
        "GET": Action.CALENDAR_READ,
        "PATCH": Action.CALENDAR_MANAGE,
        "DELETE": Action.CALENDAR_MANAGE,
    }
    serializer_class = CalendarOutput

    def calendar(self, pk: str) -> SiteCalendar:
        """Return the visible calendar or raise 404."""
        found: SiteCalendar = visible_or_404(SiteCalendar.objects.all(), self.principal, pk=pk)
        return found

    @extend_schema(operation_id="site_calendars_read")
    def get(self, _request: Request, pk: str) -> Response:
        """Return the calendar."""
        return Response(CalendarOutput(self.calendar(pk)).data)

    @extend_schema(
        operation_id="site_calendars_update", request=CalendarChange, responses=CalendarOutput
    )
    def patch(self, request: Request, pk: str) -> Response:
        """Change when the site is open."""
        calendar = calendars.calendar_update(
            calendar=self.calendar(pk),
            changes=_values(checked(CalendarChange, request)),
            principal=self.principal,
            now=clock.now(),
        )
        return Response(CalendarOutput(calendar).data)

    @extend_schema(operation_id="site_calendars_delete", responses={204: None})
    def delete(self, _request: Request, pk: str) -> Response:
        """Take the calendar away: the site is open at any time."""
        calendars.calendar_delete(calendar=self.calendar(pk), principal=self.principal)
        return Response(status=204)
