"""What a device in trouble tells of itself."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from fleet_agent.portal import PortalClient
from fleet_agent.redaction import plain_text, remove_secrets
from fleet_agent.settings import ConfigStore
from fleet_agent.updates.deployment import Deployment
from fleet_agent.updates.facts import unpacked_bytes
from fleet_agent.updates.trust import can_trust

LOG_BYTES = 96 * 1024
LINE_CHARS = 250
REASON_CHARS = 255


def send_diagnostics(
    *, portal: PortalClient, store: ConfigStore, deployment: Deployment, recent_log: str
) -> None:
    """Tell the portal the mode of this device and what is known of its state. PortalError."""
    device_id = store.settings.device_id or ""
    mode = deployment.safe_mode
    running = deployment.running()
    report = deployment.states.state.report if deployment.states.state else None
    text = plain_text(remove_secrets(recent_log), max_bytes=LOG_BYTES)
    body: dict[str, Any] = {
        "safe_mode": mode.is_on,
        "leaving": deployment.is_leaving,
        "reason": mode.reason[:REASON_CHARS],
        "running_version": running.version if running else "",
        "logs": text.splitlines(),
        "disk": _disk(store.releases_dir),
        "last_errors": [str(report["error"])] if report and report.get("error") else [],
        "checks": checks(store, deployment),
    }
    portal.call("POST", f"/recovery/{device_id}/diagnostics", body=body)
    mode.told()


def checks(store: ConfigStore, deployment: Deployment) -> list[dict[str, Any]]:
    """Return what a deployment needs of this device, each with name, passed and detail."""
    found = [
        _check(
            "updates allowed",
            "ALLOW_UPDATES in fleet.conf",
            passed=store.settings.allow_updates,
        ),
        _check("signatures can be checked", "the Python package tuf", passed=can_trust()),
        _room(deployment),
    ]
    for name, path in (("state directory", store.state_dir), ("releases", store.releases_dir)):
        found.append(_writable(name, path))
    return found


def _room(deployment: Deployment) -> dict[str, Any]:
    running = deployment.running()
    wanted = (unpacked_bytes(running) + running.bundle_size) if running else 0
    try:
        free = deployment.releases.free_bytes()
    except OSError as error:
        return _check("room on the disk", str(error), passed=False)
    return _check("room on the disk", f"{free} bytes, wanted {wanted}", passed=free >= wanted)


def _writable(name: str, path: Path) -> dict[str, Any]:
    probe = path / ".probe"
    try:
        path.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"probe")
        probe.unlink()
    except OSError as error:
        return _check(f"{name} can be written", str(error), passed=False)
    return _check(f"{name} can be written", str(path), passed=True)


def _check(name: str, detail: str, *, passed: bool) -> dict[str, Any]:
    return {"name": name, "passed": passed, "detail": detail[:LINE_CHARS]}


def _disk(path: Path) -> dict[str, Any]:
    try:
        usage = shutil.disk_usage(path)
    except OSError:
        return {}
    return {"path": str(path), "free_bytes": usage.free, "total_bytes": usage.total}
