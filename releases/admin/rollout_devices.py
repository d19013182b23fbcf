"""Who takes part in a rollout: what a draft would do, and its devices page by page."""

from typing import Any
from urllib.parse import urlencode

from django.core.paginator import Page
from django.http import HttpRequest

from accounts.admin_lists import BoundedPaginator
from accounts.principals import Principal
from common import clock, limits
from common.errors import DomainError
from devices.models import Device
from releases.admin.rollout_page import words_of
from releases.models import UNSTARTED, Rollout, RolloutTarget
from releases.selectors.progress import LEFT_OUT, STATES, WAITING, stages_of
from releases.services.rollouts import whole
from releases.services.simulated_sets import PAGE, devices_page
from releases.services.simulation import of_rollout, simulate

_SITES = 8
_DIGITS = 4


def simulation_context(rollout: Rollout, principal: Principal) -> dict[str, Any]:
    """Return what a rollout that has not begun would do; nothing of one that has."""
    context: dict[str, Any] = {"rollout": rollout, "is_unstarted": rollout.status in UNSTARTED}
    if not context["is_unstarted"]:
        return context
    try:
        whole(rollout, principal)
        told = simulate(of_rollout(rollout=rollout, principal=principal), now=clock.now())
    except DomainError as refusal:
        return {**context, "refusal": refusal.message}
    soak = {stage.segment: stage.soak_minutes for stage in stages_of(rollout)}
    for stage in told["stages"]:
        stage["label"] = Device.Segment(stage["segment"]).label
        stage["soak_minutes"] = soak[stage["segment"]]
    return {
        **context,
        "told": told,
        "sites": told["sites"][:_SITES],
        "more_sites": max(0, told["sites_count"] - _SITES),
        "waits": told["opens_at"] is not None and told["opens_at"] > clock.now(),
    }


def devices_context(rollout: Rollout, principal: Principal, request: HttpRequest) -> dict[str, Any]:
    """Return a page of the devices, narrowed by segment and state."""
    segments = [stage.segment for stage in stages_of(rollout)]
    asked = {name: request.GET.get(name, "") for name in ("segment", "state")}
    segment = asked["segment"] if asked["segment"] in segments else ""
    state = asked["state"] if asked["state"] in STATES else ""
    is_frozen = rollout.targets.exists()
    if not is_frozen:
        segment, state = segment or next(iter(segments), ""), ""
    rows = _frozen if is_frozen else _chosen
    return {
        "rollout": rollout,
        "is_frozen": is_frozen,
        "segments": [(one, Device.Segment(one).label) for one in segments],
        "states": [(one, words_of(one)) for one in STATES],
        "segment": segment,
        "state": state,
        "narrowed": urlencode({"segment": segment, "state": state}),
        **rows(rollout, principal, segment, state, request.GET.get("page", "1")),
    }


def _frozen(
    rollout: Rollout, principal: Principal, segment: str, state: str, asked: str
) -> dict[str, Any]:
    targets = RolloutTarget.objects.visible_to(principal).filter(rollout=rollout)
    if segment:
        targets = targets.filter(segment=segment)
    if state in (WAITING, LEFT_OUT):
        targets = targets.filter(update=None)
        is_in = {"left_out": ""}
        targets = targets.filter(**is_in) if state == WAITING else targets.exclude(**is_in)
    elif state:
        targets = targets.filter(update__status=state)
    rows = targets.select_related("device", "update").order_by("segment", "bucket", "pk")
    page: Page[RolloutTarget] = BoundedPaginator(rows, limits.PAGE_SIZE).get_page(asked)
    return {
        "rows": [_row(target) for target in page],
        "count": page.paginator.count,
        "previous": page.number - 1 if page.has_previous() else None,
        "next": page.number + 1 if page.has_next() else None,
    }


def _row(target: RolloutTarget) -> dict[str, Any]:
    update = target.update
    state = update.status if update else LEFT_OUT if target.left_out else WAITING
    return {
        "pk": target.device_id,
        "device_id": target.device.device_id,
        "segment": target.segment,
        "site": target.device.site,
        "state": state,
        "words": words_of(state),
        "why": (update.error if update else target.left_out) or "",
        "at": (update.finished_at or update.claimed_at or update.scheduled_at) if update else None,
    }


def _chosen(
    rollout: Rollout, principal: Principal, segment: str, _state: str, asked: str
) -> dict[str, Any]:
    """Return devices of a draft in the order in which they would be taken."""
    is_number = asked.isascii() and asked.isdigit() and len(asked) <= _DIGITS
    number = max(1, int(asked)) if is_number else 1
    chosen = of_rollout(rollout=rollout, principal=principal).chosen
    found = devices_page(chosen=chosen, segment=segment, page=number) if segment else []
    rows = [{**one, "pk": one["id"], "state": WAITING, "words": WAITING} for one in found]
    return {
        "rows": rows,
        "count": None,
        "previous": number - 1 if number > 1 else None,
        "next": number + 1 if len(found) == PAGE else None,
    }
