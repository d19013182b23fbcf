"""Beat's sweep over this floor. Running it twice, or two at once, changes nothing."""

from typing import Any

from celery import shared_task

from common import clock, idempotency


@shared_task
def idempotency_tidy(**_kwargs: Any) -> None:
    """Every hour."""
    idempotency.idempotency_tidy(now=clock.now())
