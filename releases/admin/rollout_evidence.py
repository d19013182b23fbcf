"""What speaks for or against a rollout, as people read it."""

from math import exp, log
from typing import Any

from django.utils.dateparse import parse_datetime

from accounts.principals import Principal
from releases.evidence import Evidence
from releases.models import HealthPair, Rollout
from releases.services.guardrails import COUNTS, Regression, evidence_of

# Beyond this, how strong it is tells nobody anything more.
_MOST = 15.0


def evidence_told(rollout: Rollout, principal: Principal) -> dict[str, Any] | None:
    """Return what the pairs say since the last halt and before it; None when none are formed."""
    regression = Regression.stored(rollout.regression)
    if not regression.enabled or rollout.started_at is None:
        return None
    before = rollout.evidence.get("until_halt") or {}
    counts = {name: int(before.get(name, 0)) for name in COUNTS[:3]}
    pairs = HealthPair.objects.visible_to(principal)
    watched = pairs.filter(rollout=rollout, judged_at=None).count()
    return {
        "now": _told(evidence_of(rollout), regression.alpha),
        "before": _told(Evidence(**counts), regression.alpha) if any(counts.values()) else None,
        "watched": watched,
        "minutes": regression.observe_minutes,
    }


def _told(evidence: Evidence, alpha: float) -> dict[str, Any]:
    """Return counts, the odds against the release, the odds that halt it, and how near it is."""
    differ = evidence.updated_worse + evidence.control_worse
    strength, enough = max(0.0, min(evidence.log_e, _MOST)), -log(alpha) if alpha > 0 else _MOST
    share = min(100, round(100 * strength / enough)) if enough else 100
    return {
        "worse": evidence.updated_worse,
        "differ": differ,
        "ties": evidence.ties,
        "judged": differ + evidence.ties,
        "odds": round(exp(strength)),
        "halts_at": round(exp(min(enough, _MOST))),
        "share": share,
        "rest": 100 - share,
    }


def drill_told(rollout: Rollout) -> dict[str, Any] | None:
    """Return the proof that the rules fire: when, by whom, and what became of each cohort."""
    drill = rollout.drill
    if not drill:
        return None
    cases = [
        {
            "name": str(case["name"]).replace("_", " "),
            "halts": bool(case["fired"]),
            "reason": case["reason"],
        }
        for case in drill["cases"]
    ]
    return {
        "at": parse_datetime(drill["at"]),
        "by": drill["by"],
        "devices": drill["devices"],
        "halting": sum(case["halts"] for case in cases),
        "cases": cases,
    }
