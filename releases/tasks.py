"""Beat's sweeps over releases. Running one twice, or two at once, changes nothing."""

from typing import Any

from celery import shared_task

from common import clock
from releases.services import (
    advance,
    artifact_retention,
    drift_repair,
    pairs,
    recovery,
    rollbacks,
    verification,
)
from releases.services import trust_refresh as trust


@shared_task
def rollouts_advance(**_kwargs: Any) -> None:
    """Every 2 s."""
    advance.rollouts_advance(now=clock.now())


@shared_task
def updates_verify(**_kwargs: Any) -> None:
    """Every 10 s."""
    verification.updates_verify(now=clock.now())


@shared_task
def updates_time_out(**_kwargs: Any) -> None:
    """Every 10 s."""
    verification.updates_time_out(now=clock.now())


@shared_task
def pairs_compare(**_kwargs: Any) -> None:
    """Every 10 s."""
    now = clock.now()
    pairs.pairs_judge(now=now)
    pairs.pairs_match(now=now)


@shared_task
def rollbacks_advance(**_kwargs: Any) -> None:
    """Every 5 s."""
    rollbacks.rollbacks_advance(now=clock.now())


@shared_task
def recoveries_settle(**_kwargs: Any) -> None:
    """Every 10 s."""
    recovery.recoveries_settle(now=clock.now())


@shared_task
def drifts_repair(**_kwargs: Any) -> None:
    """Every 30 s."""
    drift_repair.drifts_repair(now=clock.now())


@shared_task
def trust_refresh(**_kwargs: Any) -> None:
    """Every 10 min."""
    trust.trust_refresh(now=clock.now())


@shared_task
def artifacts_retire(**_kwargs: Any) -> None:
    """Every hour."""
    artifact_retention.artifacts_retire(now=clock.now())
