"""What a device finds when it looks at itself: kept without secrets, once, the newest."""

import json
from datetime import datetime
from typing import Any

from django.db import transaction

from audit.services import Actor
from commands.bundles.contents.fixed_secrets import lowered, mark
from commands.bundles.contents.named_secrets import secret_names
from commands.bundles.contents.redaction import Redactor
from common import limits
from common.errors import InvalidInput
from devices.models import Device, DeviceRecovery
from devices.services import recovery as facts
from releases.services.recovery import is_leaving, recovery_enter


@transaction.atomic
def diagnostics_store(
    *, device: Device, body: dict[str, Any], actor: Actor, now: datetime
) -> DeviceRecovery:
    """Keep a device's diagnostics in place of the last ones, and believe what it says of its mode.

    `checks` [{"name", "passed", …}] decide what a redeploy may do. `safe_mode` true confirms the
    mode, or enters it when the portal did not know; not while the device was told to leave it. With
    `leaving` true the application runs again and waits for the proof of a redeploy; without it a
    redeploy that was claimed has failed.
    Raises InvalidInput when it is more than `limits.DIAGNOSTICS_BYTES`.
    """
    kept = redacted(body)
    size = len(json.dumps(kept, ensure_ascii=False).encode())
    if size > limits.DIAGNOSTICS_BYTES:
        raise InvalidInput(
            f"The diagnostics have {size} bytes; at most {limits.DIAGNOSTICS_BYTES} are kept."
            " Send fewer lines of the log."
        )
    recovery = facts.recovery_lock(device)
    in_safe_mode = body.get("safe_mode") is True and body.get("leaving") is not True
    if in_safe_mode and not is_leaving(device):
        recovery_enter(
            device=device,
            reason=str(kept.get("reason") or "The device went into safe mode by itself."),
            source=DeviceRecovery.Source.AGENT,
            actor=actor,
            now=now,
        )
    checks = body.get("checks") or []
    DeviceRecovery.objects.filter(pk=recovery.pk).update(
        diagnostics=kept,
        diagnostics_at=now,
        checks_passed=all(check["passed"] for check in checks) if checks else None,
    )
    recovery.refresh_from_db()
    return recovery


def redacted(value: Any, *, name: str = "") -> Any:
    """Return a JSON value without the secrets in it; `name` is the member it stands in.

    What stands in a member whose name is one of a secret goes whole; texts are read line by line.
    """
    if isinstance(value, dict):
        return {key: redacted(item, name=_meant(value, key)) for key, item in value.items()}
    if isinstance(value, list):
        if all(isinstance(item, str) for item in value) and not _is_secret(name):
            return _lines(value)
        return [redacted(item, name=name) for item in value]
    if value in (None, "") or isinstance(value, bool):
        return value
    if _is_secret(name):
        return mark("named")
    return "\n".join(_lines(value.split("\n"))) if isinstance(value, str) else value


def _meant(member: dict[str, Any], key: str) -> str:
    """Return what a member is about: {"name": "PASSWORD", "value": …} is about the name."""
    return str(member["name"]) if key == "value" and "name" in member else key


def _is_secret(name: str) -> bool:
    return next(secret_names(f"{lowered(name)}="), None) is not None


def _lines(lines: list[str]) -> list[str]:
    redactor = Redactor("diagnostics")
    return [redactor.line(line) for line in lines]
