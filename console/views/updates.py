"""What runs on a device, how it got there, and why it waits."""

from typing import Any
from uuid import UUID

from django.http import HttpRequest, HttpResponse

from accounts.policy import Action
from accounts.principals import Principal
from common import clock
from console.views.base import allowed, page
from console.views.device import find
from console.views.recovery_verbs import RedeployForm, WhyForm
from devices.admin.head import device_head
from devices.models import Device, DeviceRecovery, DriftReport
from releases.models import LIVE, UNSTARTED, DeviceUpdate, Release, Rollout, UpdateEvent
from releases.selectors.recovery import leaving_by
from releases.selectors.versions import AXES, VersionMatrix, VersionRow, version_matrix
from releases.services.gates import Gate, gates_of

SHOWN = 50
_CONSIDERED = 5


def of_device(request: HttpRequest, pk: UUID) -> HttpResponse:
    """The updates of a device, the gates between it and a release, drift and recovery."""
    principal, device = find(request, pk)
    updates = DeviceUpdate.objects.visible_to(principal).filter(device=device)
    rows = list(updates.select_related("release", "rollout").order_by("-pk")[:SHOWN])
    context = {
        **device_head(principal, device, "updates"),
        "rows": rows,
        "shown": SHOWN,
        "latest_trail": _trail(rows[0]) if rows else [],
        **_eligibility(request, principal, device),
        **_condition(principal, device),
        "why_form": WhyForm(auto_id="why_%s"),
        "redeploy_form": RedeployForm(device, principal, auto_id="redeploy_%s"),
    }
    return page(request, "console/device/updates.html", context)


def _trail(update: DeviceUpdate) -> list[tuple[UpdateEvent, float | None]]:
    """Return the steps of an update, each with the seconds it took by the device's word."""
    events = update.events.order_by("pk")
    return [(event, update.timings.get(event.step)) for event in events]


def _eligibility(request: HttpRequest, principal: Principal, device: Device) -> dict[str, Any]:
    """Return the gates of the asked release, else of the newest one that is on its way."""
    rollouts = Rollout.objects.visible_to(principal).filter(
        organization=device.organization, status__in=[*LIVE, *UNSTARTED, "halted"]
    )
    live = list(rollouts.select_related("release").order_by("-pk")[:_CONSIDERED])
    releases = Release.objects.visible_to(principal).filter(organization=device.organization)
    newest = list(releases.published().for_role(device.role).order_by("-counter")[:_CONSIDERED])
    choices = {one.version: one for one in newest}
    choices |= {one.release.version: one.release for one in live}
    asked = request.GET.get("release", "")
    release = choices.get(asked) or (live[0].release if live else next(iter(newest), None))
    if release is None:
        return {"gates": [], "gates_release": None, "gates_choices": []}
    rollout = next((one for one in live if one.release_id == release.pk), None)
    gates = gates_of(device=device, release=release, rollout=rollout, now=clock.now())
    return {
        "gates": gates,
        "verdict": _verdict(gates),
        "gates_release": release,
        "gates_rollout": rollout,
        "gates_choices": list(choices),
    }


def _verdict(gates: list[Gate]) -> tuple[str, str]:
    """Return a state and its word: it gets the release, runs it already, or waits."""
    closed = [gate.gate for gate in gates if not gate.passed]
    if not closed:
        return "verified", "gets it"
    return ("claimed", "runs it") if closed == ["running"] else ("paused", "waits")


def _condition(principal: Principal, device: Device) -> dict[str, Any]:
    drift = DriftReport.objects.visible_to(principal).filter(device=device, resolved_at=None)
    recovery = DeviceRecovery.objects.visible_to(principal).filter(device=device)
    here = principal.organization is not None
    return {
        "drift": drift.first(),
        "recovery": recovery.first(),
        "leaving": leaving_by(device),
        "may_recover": here and principal.may(Action.RECOVERY_OPERATE),
        "may_repair": here and principal.may(Action.DRIFT_REPAIR),
    }


def versions(request: HttpRequest) -> HttpResponse:
    """Which versions run where: versions against segments, roles or sites."""
    principal = allowed(request, Action.RELEASE_READ)
    asked = request.GET.get("by", "")
    axis = asked if asked in AXES else "segment"
    matrix = version_matrix(principal=principal, axis=axis)
    rows = [{"row": row, "cells": _cells(row, matrix)} for row in matrix.rows]
    context = {
        "title": "Versions",
        "matrix": matrix,
        "rows": rows,
        "axis": axis,
        "axes": list(AXES),
    }
    return page(request, "console/versions.html", context)


def _cells(row: VersionRow, matrix: VersionMatrix) -> list[tuple[int, int]]:
    """Return each column's tint, percent of the darkest, and its count."""
    counts = [row.counts[column] for column in matrix.columns]
    return [(round(30 * count / matrix.total) + (4 if count else 0), count) for count in counts]
