"""Beat's sweeps over releases. Running one twice, or two at once, changes nothing."""

from typing import Any

from celery import shared_task

from common import clock
from releases.services import trust_refresh as trust


@shared_task
def trust_refresh(**_kwargs: Any) -> None:
    """Every 10 min."""
    trust.trust_refresh(now=clock.now())
