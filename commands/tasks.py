"""Beat's sweeps over commands. Running one twice, or two at once, changes nothing."""

from typing import Any

from celery import shared_task

from commands import services
from common import clock


@shared_task
def commands_expire(**_kwargs: Any) -> None:
    """Every 10 s."""
    services.commands_expire(now=clock.now())
