"""Making a batch in the browser: a form with a live count, then a draft to look at."""

from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse

from accounts.admin_requests import principal_of
from accounts.policy import Action
from accounts.principals import Principal
from commands import services
from commands.admin.batch_forms import RULES, AbortRuleForm, PlanForm, TargetForm, WavesForm
from commands.admin.queue_forms import Sheet
from commands.models import CommandBatch, CommandTemplate
from commands.services import batch_targets
from common import clock, limits
from common.errors import DomainError
from devices.admin import DeviceAdmin
from devices.models import Device, DeviceGroup

DEFAULT_KIND = "ping"


class NewBatch:
    """The forms of the page, filled in with what was sent."""

    def __init__(
        self,
        principal: Principal,
        data: Any = None,
        initial: dict[str, Any] | None = None,
        template: CommandTemplate | None = None,
    ) -> None:
        groups = DeviceGroup.objects.visible_to(principal).order_by("name")
        self.principal = principal
        self.target = TargetForm(groups, data, initial=initial or {})
        self.plan = PlanForm(data)
        self.rules = [AbortRuleForm(data, prefix=prefix) for prefix in RULES]
        # What a template fills in stands beside what was entered about devices and waves.
        ordered = None if template else data
        self.sheet = Sheet(principal, data=ordered, template=template, kind=DEFAULT_KIND)

    def is_valid(self) -> bool:
        """Say whether everything can be read; each form has its own faults."""
        forms: list[Any] = [self.target, self.plan, *self.rules, self.sheet]
        # Every form is asked, so that every fault is shown.
        found = [form.is_valid() for form in forms]
        return all(found)

    def create(self) -> CommandBatch | None:
        """Freeze a draft; None after a refusal, which then stands in the form."""
        entered = self.plan.cleaned_data
        rules = [rule for form in self.rules if (rule := form.rule())]
        kind, payload, _options = self.sheet.order()
        try:
            return services.batch_create(
                name=entered["name"],
                order=services.BatchOrder(kind, payload, self.sheet.said()),
                selection=self.target.selection(),
                plan=self.plan.plan(rules),
                principal=self.principal,
                now=clock.now(),
                draft=True,
                origin=CommandBatch.Origin.CONSOLE,
            )
        except DomainError as refusal:
            self.plan.add_error(None, refusal.message)
            return None


def new_view(model_admin: Any, request: HttpRequest) -> HttpResponse:
    """Show the form, fill it in from a template, or make the draft it describes."""
    principal = _creator(request)
    new = NewBatch(principal, request.POST or None)
    if "use_template" in request.POST:
        template = new.sheet.chosen_template()
        return _page(model_admin, request, _filled(request, template) if template else new)
    if request.method == "POST" and new.is_valid():
        batch = new.create()
        if batch is not None:
            return redirect("admin:commands_commandbatch_change", batch.pk)
    return _page(model_admin, request, new)


def _filled(request: HttpRequest, template: CommandTemplate) -> NewBatch:
    """Return the page as the template fills it in; a batch without a name takes the template's."""
    data = request.POST.copy()
    data["name"] = data.get("name") or template.name
    return NewBatch(principal_of(request), data, template=template)


def _creator(request: HttpRequest) -> Principal:
    principal = principal_of(request)
    if principal.organization is None or not principal.may(Action.COMMAND_CREATE):
        raise PermissionDenied
    return principal


def _page(model_admin: Any, request: HttpRequest, new: NewBatch) -> HttpResponse:
    context = {
        **model_admin.admin_site.each_context(request),
        "title": "New batch",
        "model_admin": model_admin,
        "opts": CommandBatch._meta,
        "new": new,
        "sheet": new.sheet,
        "form": new.sheet.form,
        "kind": new.sheet.form["kind"].value(),
        "way": new.target["way"].value() or "filter",
    }
    return TemplateResponse(request, "admin/commands/commandbatch/new.html", context)


def preview_view(_model_admin: Any, request: HttpRequest) -> HttpResponse:
    """Return who would get it now, as a part of the page."""
    principal = _creator(request)
    groups = DeviceGroup.objects.visible_to(principal)
    target, waves = TargetForm(groups, request.POST), WavesForm(request.POST)
    context: dict[str, Any] = {"refusal": "Choose devices."}
    if target.is_valid():
        try:
            choice = batch_targets.choose(selection=target.selection(), principal=principal)
            parts = waves.cleaned_data["waves"] if waves.is_valid() else []
            context = _counted(choice, parts)
        except DomainError as refusal:
            context = {"refusal": refusal.message}
    return TemplateResponse(request, "admin/commands/commandbatch/preview.html", context)


def _counted(choice: batch_targets.Choice, waves: list[dict[str, int]]) -> dict[str, Any]:
    reasons: dict[str, list[str]] = {}
    for one in choice.left_out:
        reasons.setdefault(one.reason, []).append(one.device_id)
    return {
        "count": len(choice.taking),
        "sizes": batch_targets.wave_sizes(total=len(choice.taking), waves=waves),
        "first": [one.device_id for one in choice.taking[:20]],
        "left_out": len(choice.left_out),
        "reasons": [(why, len(names), names[:5]) for why, names in reasons.items()],
    }


@admin.action(permissions=["command"], description="New batch…")
def batch_for_selected(
    model_admin: Any, request: HttpRequest, queryset: QuerySet[Device]
) -> HttpResponse | None:
    """Take the selected devices to the form."""
    names = list(queryset.values_list("device_id", flat=True)[: limits.BATCH_LISTED + 1])
    if len(names) > limits.BATCH_LISTED:
        sentence = (
            f"More than {limits.BATCH_LISTED} devices are selected."
            " Choose them by group, tags or what they are."
        )
        model_admin.message_user(request, sentence, messages.ERROR)
        return None
    chosen = {"way": "devices", "devices": "\n".join(names)}
    return _page(model_admin, request, NewBatch(_creator(request), initial=chosen))


DeviceAdmin.actions.insert(1, batch_for_selected)
