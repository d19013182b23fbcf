"""Releases, how they reach devices, and what became of them there."""

from releases.models.releases import (
    ANY_ROLE,
    CHANGEABLE,
    ISSUED,
    Artifact,
    Release,
)
from releases.models.rollouts import (
    LIVE,
    STOPPED,
    UNSTARTED,
    Rollout,
    RolloutEvent,
    RolloutStage,
    RolloutTarget,
    SiteCalendar,
)
from releases.models.trust import TrustDraft, TrustMetadata, TrustTarget
from releases.models.updates import (
    ENDED,
    IN_FLIGHT,
    MOVES,
    OPEN,
    WAITING,
    WORKING,
    ChaosOrder,
    DeviceUpdate,
    HealthPair,
    UpdateEvent,
)

__all__ = [
    "ANY_ROLE",
    "CHANGEABLE",
    "ENDED",
    "IN_FLIGHT",
    "ISSUED",
    "LIVE",
    "MOVES",
    "OPEN",
    "STOPPED",
    "UNSTARTED",
    "WAITING",
    "WORKING",
    "Artifact",
    "ChaosOrder",
    "DeviceUpdate",
    "HealthPair",
    "Release",
    "Rollout",
    "RolloutEvent",
    "RolloutStage",
    "RolloutTarget",
    "SiteCalendar",
    "TrustDraft",
    "TrustMetadata",
    "TrustTarget",
    "UpdateEvent",
]
