"""Planning a rollout in the browser: a form with a live count, then a draft to look at."""

from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse

from accounts.admin_requests import principal_of
from accounts.policy import Action
from accounts.principals import Principal
from commands.admin.batch_forms import TargetForm, WindowForm
from common import clock
from common.errors import DomainError
from devices.models import DeviceGroup
from releases.admin.rollout_forms import STAGES, FailureRuleForm, RolloutForm, StageForm
from releases.models import Release, Rollout
from releases.services.guardrails import DEFAULT_RULES
from releases.services.plans import Plan
from releases.services.preview import plan_preview
from releases.services.rollouts import rollout_create

ALPHA = 0.001


class NewRollout:
    """The forms of the page, filled in with what was sent."""

    def __init__(self, principal: Principal, data: Any = None, release: str = "") -> None:
        groups = DeviceGroup.objects.visible_to(principal).order_by("name")
        releases = Release.objects.visible_to(principal).published().order_by("-counter")
        self.principal = principal
        self.rollout = RolloutForm(releases, data, initial={"release": release})
        self.target = TargetForm(groups, data)
        self.stages = [StageForm(segment, soak, data) for segment, soak in STAGES]
        self.rules = [
            FailureRuleForm(data, prefix=f"rule-{place}", initial=rule)
            for place, rule in enumerate(DEFAULT_RULES)
        ]
        self.window = WindowForm(data)

    def is_valid(self) -> bool:
        """Say whether everything can be read; each form has its own faults."""
        forms = [self.rollout, self.target, *self.stages, *self.rules, self.window]
        # Every form is asked, so that every fault is shown.
        found = [form.is_valid() for form in forms]
        return all(found)

    def plan(self) -> Plan:
        """Return the plan as it was entered."""
        entered = self.rollout.cleaned_data
        selection = self.target.selection()
        return Plan(
            selection=selection if selection != {"filter": {}} else {"all": True},
            stages=[stage for form in self.stages if (stage := form.stage())],
            holdback_percent=entered["holdback_percent"] or 0,
            rate_per_minute=entered["rate_per_minute"],
            concurrency=entered["concurrency"],
            use_calendars=entered["use_calendars"],
            window=self.window.window(),
            failure_rules=[rule for form in self.rules if (rule := form.rule())],
            regression={
                "enabled": entered["regression"],
                "alpha": ALPHA,
                "observe_minutes": max(entered["verify_minutes"], 5),
            },
            on_halt=entered["on_halt"],
            verify_minutes=entered["verify_minutes"],
            verify_timeout_minutes=max(60, 3 * entered["verify_minutes"]),
            update_timeout_minutes=entered["update_timeout_minutes"],
            auto_promote=entered["auto_promote"],
            include_new=entered["include_new"],
        )

    def create(self) -> Rollout | None:
        """Write the draft; None after a refusal, which then stands in the form."""
        entered = self.rollout.cleaned_data
        try:
            return rollout_create(
                release=entered["release"],
                name=entered["name"] or f"{entered['release'].version} to the fleet",
                plan=self.plan(),
                principal=self.principal,
                now=clock.now(),
            )
        except DomainError as refusal:
            self.rollout.add_error(None, refusal.message)
            return None


def new_view(model_admin: Any, request: HttpRequest) -> HttpResponse:
    """Show the form, or make the draft it describes and lead to it."""
    new = NewRollout(_planner(request), request.POST or None, request.GET.get("release", ""))
    if request.method == "POST" and new.is_valid():
        rollout = new.create()
        if rollout is not None:
            return redirect("admin:releases_rollout_change", rollout.pk)
    context = {
        **model_admin.admin_site.each_context(request),
        "title": "New rollout",
        "model_admin": model_admin,
        "opts": Rollout._meta,
        "new": new,
        "way": new.target["way"].value() or "filter",
    }
    return TemplateResponse(request, "admin/releases/rollout/new.html", context)


def _planner(request: HttpRequest) -> Principal:
    principal = principal_of(request)
    if principal.organization is None or not principal.may(Action.ROLLOUT_MANAGE):
        raise PermissionDenied
    return principal


def live_count_view(_model_admin: Any, request: HttpRequest) -> HttpResponse:
    """Return who would take part now, as a part of the page."""
    new = NewRollout(_planner(request), request.POST)
    context: dict[str, Any] = {"refusal": "Choose a release, devices and stages."}
    if new.is_valid():
        try:
            plan = new.plan()
            plan.check(clock.now())
            release = new.rollout.cleaned_data["release"]
            counts = plan_preview(plan=plan, release=release, principal=new.principal)
            context = {"stages": counts, "total": sum(one.inside + one.beyond for one in counts)}
        except DomainError as refusal:
            context = {"refusal": refusal.message}
    return TemplateResponse(request, "admin/releases/rollout/count.html", context)
