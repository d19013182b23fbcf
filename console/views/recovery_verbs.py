"""What can be done to a device that went wrong; each verb calls one service."""

from typing import Any

from django import forms
from django.http import HttpRequest
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from accounts.policy import Action
from accounts.principals import Principal
from common import clock, limits
from common.errors import DomainError
from devices.models import Device, DeviceRecovery, DriftReport
from devices.services.recovery import device_quarantine_end
from releases.models import Release
from releases.services.drift_repair import drift_repair
from releases.services.recovery import recovery_enter, recovery_exit
from releases.services.redeploy import recovery_redeploy

_OFFERED = 50


class WhyForm(forms.Form):
    """Why somebody does it."""

    reason = forms.CharField(max_length=limits.LINE_CHARS, widget=UnfoldAdminTextInputWidget())


class RedeployForm(forms.Form):
    """Which release a device is brought back with."""

    release = forms.ModelChoiceField(
        queryset=Release.objects.none(), widget=UnfoldAdminSelectWidget()
    )
    force_reason = forms.CharField(
        label="Although its checks have not passed, because",
        required=False,
        max_length=limits.LINE_CHARS,
        widget=UnfoldAdminTextInputWidget(),
        help_text="Empty: only when the device's checks have passed.",
    )

    def __init__(self, device: Device, principal: Principal, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        releases = Release.objects.visible_to(principal).published().for_role(device.role)
        field: Any = self.fields["release"]
        newest = releases.order_by("-counter").values("pk")[:_OFFERED]
        field.queryset = releases.filter(pk__in=newest).order_by("-counter")


def _entered(form: forms.Form) -> dict[str, Any]:
    if not form.is_valid():
        name, faults = next(iter(form.errors.get_json_data().items()))
        raise DomainError(f"{name}: {faults[0]['message']}")
    return form.cleaned_data


def _enter(request: HttpRequest, device: Device, actor: Principal) -> str:
    reason = _entered(WhyForm(request.POST))["reason"]
    source = DeviceRecovery.Source.OPERATOR
    recovery_enter(device=device, reason=reason, source=source, actor=actor, now=clock.now())
    return f"{device.device_id} is told to go into safe mode; it gets no updates."


def _exit(request: HttpRequest, device: Device, actor: Principal) -> str:
    reason = _entered(WhyForm(request.POST))["reason"]
    recovery_exit(device=device, reason=reason, actor=actor, now=clock.now())
    return f"{device.device_id} is told to leave safe mode."


def _redeploy(request: HttpRequest, device: Device, actor: Principal) -> str:
    entered = _entered(RedeployForm(device, actor, request.POST))
    recovery_redeploy(
        device=device,
        release=entered["release"],
        actor=actor,
        now=clock.now(),
        force_reason=entered["force_reason"],
    )
    return f"{device.device_id} is brought back with {entered['release'].version}."


def _quarantine_end(request: HttpRequest, device: Device, actor: Principal) -> str:
    reason = _entered(WhyForm(request.POST))["reason"]
    device_quarantine_end(device=device, reason=reason, actor=actor, now=clock.now())
    return f"{device.device_id} is out of quarantine."


def _repair(_request: HttpRequest, device: Device, actor: Principal) -> str:
    reports = DriftReport.objects.visible_to(actor).filter(device=device, resolved_at=None)
    report = reports.first()
    if report is None:
        raise DomainError(f"{device.device_id} has no drift.")
    drift_repair(report=report, actor=actor, now=clock.now())
    return f"{device.device_id} is told to put {report.count} files back."


RECOVERY_VERBS = {
    "safe-mode": (Action.RECOVERY_OPERATE, _enter),
    "leave-safe-mode": (Action.RECOVERY_OPERATE, _exit),
    "redeploy": (Action.RECOVERY_OPERATE, _redeploy),
    "end-quarantine": (Action.RECOVERY_OPERATE, _quarantine_end),
    "repair-drift": (Action.DRIFT_REPAIR, _repair),
}
