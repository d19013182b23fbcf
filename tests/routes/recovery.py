"""Drift, safe mode and recovery."""

from tests.routes.shapes import Entry, Operation, get

DRIFT = {"pk": "drift_id"}
ASIDE = {"device_id": "aside_device_id"}

RECOVERY = [
    get("drift"),
    get("drift-report", path=DRIFT),
    get("device-drift"),
    Operation(
        "telemetry-drift",
        "POST",
        status=202,
        body=lambda _: {"release": "1", "items": [{"path": "/srv/a", "kind": "changed"}]},
        unlogged="What a device reports is its history, like a heartbeat.",
        by_device=True,
    ),
    Operation(
        "drift-repair",
        "POST",
        status=201,
        path=DRIFT,
        body=lambda _: {},
        entries=(
            Entry("command.queue", "command"),
            Entry("drift.repair", "driftreport", "drift_id"),
        ),
    ),
    get("recovery"),
    Operation(
        "recovery-enter",
        "POST",
        body=lambda _: {"reason": "it hangs"},
        entries=(
            Entry("recovery.enter", "device", "device_pk"),
            Entry("command.queue", "command", ""),
        ),
    ),
    Operation(
        "recovery-exit",
        "POST",
        path=ASIDE,
        body=lambda _: {"reason": "it works"},
        entries=(
            Entry("recovery.exit", "device", "aside_device_pk"),
            Entry("command.queue", "command", ""),
        ),
    ),
    Operation(
        "recovery-quarantine",
        "POST",
        body=lambda _: {"minutes": 60, "reason": "it fails"},
        entries=(Entry("recovery.quarantine", "device", "device_pk"),),
    ),
    Operation(
        "recovery-quarantine-end",
        "POST",
        path=ASIDE,
        body=lambda _: {"reason": "it works"},
        entries=(Entry("recovery.quarantine_end", "device", "aside_device_pk"),),
    ),
    Operation(
        "recovery-redeploy",
        "POST",
        status=201,
        path=ASIDE,
        body=lambda names: {"release_id": names["release_id"]},
        also=(lambda names: {"version": names["version"], "force_reason": "now"},),
        entries=(
            Entry("recovery.quarantine_end", "device", "aside_device_pk"),
            Entry("recovery.redeploy", "device", "aside_device_pk"),
        ),
    ),
    Operation(
        "recovery-diagnostics",
        "POST",
        body=lambda _: {"logs": ["a line"], "checks": [{"name": "disk", "passed": True}]},
        unlogged="What a device reports is its history, like a heartbeat.",
        by_device=True,
    ),
]
