"""Beat's sweeps over devices. Running one twice, or two at once, changes nothing."""

from typing import Any

from celery import shared_task
from celery.signals import before_task_publish

from common import clock
from devices.services import recovery, upkeep

PULSE_TASK = "devices.tasks.worker_pulse"


@before_task_publish.connect
def beat_pulse(sender: str | None = None, **_kwargs: Any) -> None:
    """Beat alone sends this task, so sending it is beat's sign of life."""
    if sender == PULSE_TASK:
        upkeep.pulse(name="beat")


@shared_task(name=PULSE_TASK)
def worker_pulse(**_kwargs: Any) -> None:
    """Every 5 s: the worker's sign of life."""
    upkeep.pulse(name="worker")


@shared_task
def devices_mark_offline(**_kwargs: Any) -> None:
    """Every 5 s."""
    upkeep.devices_mark_offline(now=clock.now())


@shared_task
def quarantines_end(**_kwargs: Any) -> None:
    """Every 30 s."""
    recovery.quarantines_end(now=clock.now())


@shared_task
def partitions_keep(**_kwargs: Any) -> None:
    """Every hour."""
    upkeep.partitions_keep(now=clock.now())
