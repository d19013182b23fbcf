"""Beat's sweep over accounts. Running it twice, or two at once, changes nothing."""

from typing import Any

from celery import shared_task

from accounts.services import upkeep
from common import clock


@shared_task
def accounts_tidy(**_kwargs: Any) -> None:
    """Every hour."""
    upkeep.accounts_tidy(now=clock.now())
