"""The verbs of commands. Claims are the gateway's; everything else that moves one is here."""

from commands.services.batch_waves import batches_advance
from commands.services.batches import (
    BatchOrder,
    Plan,
    batch_approve,
    batch_cancel,
    batch_create,
    batch_pause,
    batch_resume,
    batch_retry_failed,
    batch_start,
)
from commands.services.cancelling import command_cancel, command_release
from commands.services.output import Taken, output_append
from commands.services.pushing import Order, commands_push
from commands.services.queueing import (
    Queued,
    Travel,
    command_queue,
    command_retry,
    commands_queue,
)
from commands.services.reports import Report, command_renew, command_report
from commands.services.sweeps import (
    cancels_force,
    commands_expire,
    leases_recover,
    reconnects_judge,
    runs_time_out,
)

__all__ = [
    "BatchOrder",
    "Order",
    "Plan",
    "Queued",
    "Report",
    "Taken",
    "Travel",
    "batch_approve",
    "batch_cancel",
    "batch_create",
    "batch_pause",
    "batch_resume",
    "batch_retry_failed",
    "batch_start",
    "batches_advance",
    "cancels_force",
    "command_cancel",
    "command_queue",
    "command_release",
    "command_renew",
    "command_report",
    "command_retry",
    "commands_expire",
    "commands_push",
    "commands_queue",
    "leases_recover",
    "output_append",
    "reconnects_judge",
    "runs_time_out",
]
