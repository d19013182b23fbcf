"""The explorer of the audit log. Read only."""

import json
import re
from typing import Any, ClassVar

from django.contrib import admin
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils.html import format_html
from unfold.contrib.filters.admin import DropdownFilter, TextFilter
from unfold.decorators import display

from accounts.admin_lists import BoundedPaginator, MomentsFilter
from accounts.admin_requests import principal_of
from accounts.admin_site import TenantModelAdmin
from accounts.policy import Action
from audit.models import AuditEntry
from common import markup
from common.streaming import streamed_file
from governance.services import audit_export

Rows = QuerySet[AuditEntry]
_LINE = 90
_UUID = re.compile(r"\b([0-9a-f]{8})-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b")


class _ContainsFilter(TextFilter):
    lookup = ""

    def queryset(self, request: HttpRequest, queryset: Rows) -> Rows:
        return queryset.filter(**{self.lookup: self.value()}) if self.value() else queryset


class ActorFilter(_ContainsFilter):
    title = parameter_name = "actor"
    lookup = "actor__icontains"


class ActionFilter(_ContainsFilter):
    title = parameter_name = "action"
    lookup = "action__startswith"


class TargetFilter(_ContainsFilter):
    title = parameter_name = "target"
    lookup = "target__icontains"


class TargetIdFilter(_ContainsFilter):
    title = "target id"
    parameter_name = "target_id"
    lookup = "target_id"


class RequestFilter(_ContainsFilter):
    title = "request id"
    parameter_name = "request_id"
    lookup = "request_id"


class _OneOfFilter(DropdownFilter):
    words: ClassVar[dict[str, str]] = {}

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return list(self.words.items())

    def queryset(self, request: HttpRequest, queryset: Rows) -> Rows:
        if not self.value():
            return queryset
        return queryset.filter(**{str(self.parameter_name): self.value()})


class ActorTypeFilter(_OneOfFilter):
    title = "actor type"
    parameter_name = "actor_type"
    words = {"user": "Person", "api_key": "API key", "device": "Device", "system": "System"}


class TargetTypeFilter(_OneOfFilter):
    title = "target type"
    parameter_name = "target_type"
    words = {
        "device": "Device",
        "command": "Command",
        "supportbundle": "Support bundle",
        "devicegroup": "Device group",
        "enrollmenttoken": "Enrolment token",
        "organization": "Organisation",
        "user": "Person",
        "apikey": "API key",
    }


def as_text(value: Any) -> str:
    """Return a JSON value as a person reads it."""
    if isinstance(value, str):
        return value or "(empty)"
    return json.dumps(value, ensure_ascii=False, indent=2, sort_keys=True)


def changes(entry: AuditEntry) -> list[dict[str, Any]]:
    """Return what an entry changed: one row per name, with what was and what is."""
    before, after = entry.before or {}, entry.after or {}
    rows = []
    for name in sorted({*before, *after}):
        had, has = name in before, name in after
        how = "changed" if had and has else "added" if has else "removed"
        rows.append(
            {
                "name": name,
                "how": how,
                "before": as_text(before[name]) if had else None,
                "after": as_text(after[name]) if has else None,
            }
        )
    return rows


@admin.register(AuditEntry)
class AuditEntryAdmin(TenantModelAdmin):
    """Who did what, when, to what."""

    rights: ClassVar[dict[str, Action]] = {"view": Action.AUDIT_READ}
    paginator = BoundedPaginator
    list_display = ["when", "who", "what", "about", "summary"]
    list_filter = [
        ActorFilter,
        ActorTypeFilter,
        ActionFilter,
        TargetTypeFilter,
        TargetFilter,
        TargetIdFilter,
        RequestFilter,
        ("at", MomentsFilter),
    ]
    search_fields = ["actor", "action", "target"]
    ordering = ["-at"]

    def holds(self, request: HttpRequest, verb: str) -> bool:
        """People limited to some groups would read here about devices they do not see."""
        return super().holds(request, verb) and not principal_of(request).limited

    @display(description="When", ordering="at")
    def when(self, row: AuditEntry) -> str:
        return markup.moment(row.at)

    @display(description="Actor", ordering="actor")
    def who(self, row: AuditEntry) -> str:
        kind = ActorTypeFilter.words.get(row.actor_type, row.actor_type)
        return format_html(
            '<span class="fp-two"><b>{}</b><small>{}</small></span>', row.actor, kind
        )

    @display(description="Action", ordering="action")
    def what(self, row: AuditEntry) -> str:
        return format_html('<span class="fp-code">{}</span>', row.action)

    @display(description="Target", ordering="target")
    def about(self, row: AuditEntry) -> str:
        kind = TargetTypeFilter.words.get(row.target_type, row.target_type)
        return format_html(
            '<span class="fp-two"><b title="{}">{}</b><small>{}</small></span>',
            row.target,
            _UUID.sub(r"\1…", row.target) or markup.NOTHING,
            kind,
        )

    @display(description="Change")
    def summary(self, row: AuditEntry) -> str:
        parts = []
        for change in changes(row)[:4]:
            if change["how"] == "changed":
                parts.append(f"{change['name']}: {change['before']} → {change['after']}")
            else:
                parts.append(f"{change['name']}: {change['after'] or change['before']}")
        text = " · ".join(parts).replace("\n", " ")
        return format_html(
            '<span class="fp-summary">{}</span>', text[:_LINE] + ("…" if len(text) > _LINE else "")
        )

    def get_urls(self) -> list[Any]:
        view = self.admin_site.admin_view(self.export_view)
        return [path("export.csv", view, name="audit_auditentry_export"), *super().get_urls()]

    def export_view(self, request: HttpRequest) -> HttpResponseBase:
        """Stream the filtered log in chain order; taking it is written to the log once."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        try:
            found = self.get_changelist_instance(request).get_queryset(request)
        except IncorrectLookupParameters:
            return redirect("admin:audit_auditentry_changelist")
        lines = audit_export(
            entries=found.order_by(), filters=request.GET.dict(), actor=principal_of(request)
        )
        return streamed_file(
            request, lines, name="audit.csv", content_type="text/csv; charset=utf-8"
        )

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Show one entry: what changed, its place in the chain, its neighbours."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        entry = self.get_object(request, unquote(object_id))
        if entry is None:
            return self.absent(request, object_id)
        visible = AuditEntry.objects.visible_to(principal_of(request))
        chain = visible.filter(organization_id=entry.organization_id)
        around = {row.seq: row for row in chain.filter(seq__in=[entry.seq - 1, entry.seq + 1])}
        context = {
            **self.admin_site.each_context(request),
            "title": entry.action,
            "model_admin": self,
            "entry": entry,
            "changes": changes(entry),
            "earlier": around.get(entry.seq - 1),
            "later": around.get(entry.seq + 1),
            "target_url": self._target_url(entry),
        }
        return TemplateResponse(request, "admin/audit/auditentry/entry.html", context)

    def _target_url(self, entry: AuditEntry) -> str:
        pages = {
            "device": "console:device",
            "command": "admin:commands_command_change",
            "devicegroup": "admin:devices_devicegroup_change",
            "organization": "admin:accounts_organization_change",
        }
        name = pages.get(entry.target_type)
        return reverse(name, args=[entry.target_id]) if name and entry.target_id else ""
