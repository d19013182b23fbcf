"""Stored scripts and command templates in the browser."""

from typing import Any, ClassVar

from django.contrib import admin, messages
from django.db.models import Max, QuerySet
from django.http import HttpRequest
from django.template.loader import render_to_string
from unfold.decorators import display

from accounts.admin_requests import principal_of
from accounts.admin_site import TenantModelAdmin
from accounts.policy import Action
from commands.admin.library_forms import TEXT, ScriptForm, TemplateForm
from commands.models import CommandTemplate, Script
from commands.scripts import versions_of
from commands.services import library
from common import clock, limits, markup


@admin.register(Script)
class ScriptAdmin(TenantModelAdmin):
    """What devices may run."""

    rights: ClassVar[dict[str, Action]] = {
        "view": Action.SCRIPT_READ,
        "add": Action.SCRIPT_MANAGE,
        "change": Action.SCRIPT_MANAGE,
        "withdraw": Action.SCRIPT_MANAGE,
    }
    form = ScriptForm
    list_display = ["name", "description", "newest", "state", "made"]
    search_fields = ["name", "description"]
    ordering = ["name"]
    actions = ["withdraw_selected"]

    def has_withdraw_permission(self, request: HttpRequest) -> bool:
        return self.holds(request, "withdraw")

    def has_change_permission(self, request: HttpRequest, obj: Script | None = None) -> bool:
        return super().has_change_permission(request, obj) and not (obj and obj.withdrawn_at)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Visible scripts with the number of their newest version."""
        rows = super().get_queryset(request).select_related("organization")
        numbered: QuerySet[Any] = rows.annotate(newest_number=Max("versions__number"))
        return numbered

    def get_fieldsets(self, request: HttpRequest, obj: Script | None = None) -> Any:
        """Who may not write sees the versions alone."""
        if obj is None:
            return [(None, {"fields": ["name", "description"]}), ("Text", {"fields": TEXT})]
        head = (None, {"fields": ["name", "description", "state"]})
        versions = ("Versions", {"fields": ["versions"]})
        if not self.has_change_permission(request, obj):
            return [head, versions]
        return [head, ("Text: a change is a new version", {"fields": TEXT}), versions]

    def get_readonly_fields(self, request: HttpRequest, obj: Script | None = None) -> list[str]:
        """A script keeps its name: orders name it."""
        return ["name", "state", "versions"] if obj else []

    @display(description="Version")
    def newest(self, row: Any) -> str:
        return str(row.newest_number)

    @display(description="State", ordering="withdrawn_at")
    def state(self, row: Script) -> str:
        return markup.badge("revoked", "withdrawn") if row.withdrawn_at else markup.badge("usable")

    @display(description="Stored", ordering="created_at")
    def made(self, row: Script) -> str:
        return markup.moment(row.created_at)

    @display(description="Stored and signed")
    def versions(self, row: Script) -> str:
        shown = versions_of(row)[: limits.PAGE_SIZE]
        return render_to_string("admin/commands/script/versions.html", {"versions": shown})

    def service_create(self, request: HttpRequest, obj: Script, entered: dict[str, Any]) -> Script:
        principal = principal_of(request)
        return library.script_create(
            organization=principal.acting_organization(),
            name=entered["name"],
            description=entered["description"],
            text=library.ScriptText(**{name: entered[name] for name in TEXT}),
            actor=principal,
            now=clock.now(),
        )

    def service_update(self, request: HttpRequest, obj: Script, changes: dict[str, Any]) -> None:
        principal = principal_of(request)
        # The form has written the new values into `obj`; the services compare with the row.
        kept = self.get_queryset(request).get(pk=obj.pk)
        if set(changes) & set(TEXT):
            newest = versions_of(kept).first()
            text = {name: changes.get(name, getattr(newest, name)) for name in TEXT}
            library.script_version_add(
                script=kept, text=library.ScriptText(**text), actor=principal, now=clock.now()
            )
        plain = {name: value for name, value in changes.items() if name not in TEXT}
        library.script_update(script=kept, changes=plain, actor=principal)

    @admin.action(permissions=["withdraw"], description="Withdraw for good")
    def withdraw_selected(self, request: HttpRequest, queryset: QuerySet[Script]) -> None:
        """Let no device run the selected scripts any more; runs that wait are cancelled."""
        principal, now = principal_of(request), clock.now()
        for script in queryset[: limits.PAGE_SIZE_MAX]:
            library.script_withdraw(script=script, actor=principal, now=now, source="console")
        self.message_user(request, "No device runs the selected scripts.", messages.SUCCESS)


@admin.register(CommandTemplate)
class CommandTemplateAdmin(TenantModelAdmin):
    """Commands saved to use again."""

    rights: ClassVar[dict[str, Action]] = {
        "view": Action.TEMPLATE_READ,
        "add": Action.TEMPLATE_MANAGE,
        "change": Action.TEMPLATE_MANAGE,
        "delete": Action.TEMPLATE_MANAGE,
    }
    form = TemplateForm
    list_display = ["name", "type", "description", "created_by", "made"]
    list_select_related = ["organization"]
    search_fields = ["name", "description"]
    ordering = ["name"]
    fields = ["name", "description", "kind", "payload"]

    @display(description="Command", ordering="kind")
    def type(self, row: CommandTemplate) -> str:
        return row.kind

    @display(description="Saved", ordering="created_at")
    def made(self, row: CommandTemplate) -> str:
        return markup.moment(row.created_at)

    def service_create(
        self, request: HttpRequest, obj: CommandTemplate, entered: dict[str, Any]
    ) -> CommandTemplate:
        principal = principal_of(request)
        return library.template_create(
            organization=principal.acting_organization(),
            values={name: entered[name] for name in self.fields},
            actor=principal,
            now=clock.now(),
        )

    def service_update(
        self, request: HttpRequest, obj: CommandTemplate, changes: dict[str, Any]
    ) -> None:
        # The form has written the new values into `obj`; the service compares with the row.
        kept = self.get_queryset(request).get(pk=obj.pk)
        library.template_update(template=kept, changes=changes, actor=principal_of(request))

    def service_delete(self, request: HttpRequest, obj: CommandTemplate) -> None:
        library.template_delete(template=obj, actor=principal_of(request))
