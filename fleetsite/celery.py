"""Background work. Every task is a sweep: a lost message costs one round, never a command."""

import os
from datetime import timedelta

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "fleetsite.settings")
os.environ.setdefault("STATEMENT_TIMEOUT_MS", "60000")

app = Celery("fleetsite")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


def _every(task: str, seconds: float) -> dict[str, object]:
    # A sweep that waited longer than its period is pointless: the next one does its work.
    return {
        "task": task,
        "schedule": timedelta(seconds=seconds),
        "options": {"expires": max(seconds, 5)},
    }


app.conf.beat_schedule = {
    "worker-pulse": _every("devices.tasks.worker_pulse", 5),
    "devices-mark-offline": _every("devices.tasks.devices_mark_offline", 5),
    "commands-expire": _every("commands.tasks.commands_expire", 10),
    "leases-recover": _every("commands.tasks.leases_recover", 5),
    "runs-time-out": _every("commands.tasks.runs_time_out", 5),
    "cancels-force": _every("commands.tasks.cancels_force", 5),
    "reconnects-judge": _every("commands.tasks.reconnects_judge", 30),
    "batches-advance": _every("commands.tasks.batches_advance", 2),
    "rollouts-advance": _every("releases.tasks.rollouts_advance", 2),
    "bundles-process": _every("commands.tasks.bundles_process", 3),
    "bundles-retire": _every("commands.tasks.bundles_retire", 600),
    "artifacts-retire": _every("releases.tasks.artifacts_retire", 3600),
    "updates-verify": _every("releases.tasks.updates_verify", 10),
    "updates-time-out": _every("releases.tasks.updates_time_out", 10),
    "pairs-compare": _every("releases.tasks.pairs_compare", 10),
    "rollbacks-advance": _every("releases.tasks.rollbacks_advance", 5),
    "quarantines-end": _every("devices.tasks.quarantines_end", 30),
    "recoveries-settle": _every("releases.tasks.recoveries_settle", 10),
    "drifts-repair": _every("releases.tasks.drifts_repair", 30),
    "trust-refresh": _every("releases.tasks.trust_refresh", 600),
    "partitions-keep": _every("devices.tasks.partitions_keep", 3600),
    "idempotency-tidy": _every("common.tasks.idempotency_tidy", 3600),
    "accounts-tidy": _every("accounts.tasks.accounts_tidy", 3600),
}
