"""Beat's sweeps over releases. Running one twice, or two at once, changes nothing."""

from typing import Any

from celery import shared_task

from common import clock
from releases.services import artifact_retention


@shared_task
def artifacts_retire(**_kwargs: Any) -> None:
    """Every day."""
    artifact_retention.artifacts_retire(now=clock.now())
