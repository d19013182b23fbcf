"""What the page of a release shows, and what can be done there."""

from typing import Any

from accounts.admin_pages import Verb
from accounts.policy import Action
from accounts.principals import Principal
from releases.models import Artifact, Release, Rollout, TrustDraft
from releases.selectors.versions import adoption_of
from releases.services.manifests import reach_of

State = Release.State

VERBS = [
    Verb(
        "validate",
        "Validate",
        "Look at the bundles?",
        "Their files, compose file, hooks and variables are checked. Nothing is run.",
        "Validated.",
        Action.RELEASE_MANAGE,
        (State.DRAFT, State.VALIDATED),
        tone="main",
        reason="no",
    ),
    Verb(
        "publish",
        "Publish",
        "Publish the release?",
        "Its manifests are signed, and it never changes again. No device gets it before a rollout.",
        "Published. Plan a rollout to bring it to devices.",
        Action.RELEASE_MANAGE,
        (State.VALIDATED,),
        tone="main",
        reason="no",
    ),
    Verb(
        "delete",
        "Delete",
        "Throw the release away?",
        "It goes with its bundles; the version can be used again.",
        "The release is gone.",
        Action.RELEASE_MANAGE,
        (State.DRAFT, State.VALIDATED),
        tone="bad",
        reason="no",
        removes=True,
    ),
    Verb(
        "withdraw",
        "Withdraw",
        "Withdraw the release for good?",
        "No device gets it any more; devices that run it keep it. Its rollouts stop.",
        "Withdrawn.",
        Action.RELEASE_MANAGE,
        (State.PUBLISHED,),
        tone="bad",
        reason="must",
    ),
]
_FINDINGS = 100
_SEVERITIES = ["error", "warning", "info"]


def release_context(release: Release, principal: Principal) -> dict[str, Any]:
    """Return what the page of a release shows."""
    mine = [verb for verb in VERBS if verb.allowed(principal)]
    rollouts = Rollout.objects.visible_to(principal).filter(release=release)
    unended = rollouts.exclude(status__in=["completed", "rolled_back"]).exists()
    artifacts = list(release.artifacts.order_by("role"))
    may_plan = principal.organization is not None and principal.may(Action.ROLLOUT_MANAGE)
    published = release.state == State.PUBLISHED
    return {
        "release": release,
        "artifacts": artifacts,
        "stored": [one for one in artifacts if one.status == Artifact.Status.STORED],
        "findings": sorted(release.findings[:_FINDINGS], key=_by_severity),
        "adoption": adoption_of(release, principal),
        "rollouts": list(rollouts.order_by("-id")[:10]),
        "reach": sorted(reach_of(release)) if published else [],
        "drafts": TrustDraft.objects.visible_to(principal).filter(organization=release.organization)
        if published
        else [],
        "verbs": [verb for verb in mine if release.state in verb.states],
        "dialogs": mine,
        "may_plan": may_plan and published and not unended,
        "may_upload": principal.organization is not None
        and principal.may(Action.RELEASE_MANAGE)
        and release.is_changeable,
    }


def _by_severity(finding: dict[str, Any]) -> tuple[int, str]:
    severity = finding.get("severity", "info")
    place = _SEVERITIES.index(severity) if severity in _SEVERITIES else len(_SEVERITIES)
    return (place, str(finding.get("path", "")))
