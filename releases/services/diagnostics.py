"""What a device finds when it looks at itself: kept without secrets, once, the newest."""

import json
from datetime import datetime
from typing import Any

from django.db import transaction

from audit.services import Actor
from commands.bundles.contents.redaction import Redactor
from common import limits
from common.errors import InvalidInput
from devices.models import Device, DeviceRecovery
from devices.services import recovery as facts
from releases.services.recovery import is_leaving, recovery_enter

# Names of members whose value is a secret whatever it looks like are found by a line of this form.
_PAIR = "{}: {}"


@transaction.atomic
def diagnostics_store(
    *, device: Device, body: dict[str, Any], actor: Actor, now: datetime
) -> DeviceRecovery:
    """Keep a device's diagnostics in place of the last ones, and believe what it says of its mode.

    `checks` [{"name", "passed", …}] decide what a redeploy may do. `safe_mode` true confirms the
    mode, or enters it when the portal did not know; not while the device was told to leave it.
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
    if body.get("safe_mode") is True and not is_leaving(device):
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
    """Return a JSON value without the secrets in its texts; `name` is the member it stands in."""
    if isinstance(value, dict):
        return {key: redacted(item, name=key) for key, item in value.items()}
    if isinstance(value, list):
        if all(isinstance(item, str) for item in value):
            return _lines(value, name)
        return [redacted(item, name=name) for item in value]
    if isinstance(value, str):
        return "\n".join(_lines(value.split("\n"), name))
    return value


def _lines(lines: list[str], name: str) -> list[str]:
    """Redact lines that follow each other; the first one is also read as the value of `name`."""
    redactor = Redactor(name)
    done = [redactor.line(line) for line in lines]
    for place, line in enumerate(done):
        start = _PAIR.format(json.dumps(name), "")
        whole = Redactor(name).line(start + json.dumps(line, ensure_ascii=False))
        if whole != start + json.dumps(line, ensure_ascii=False):
            done[place] = whole.removeprefix(start).strip('"')
    return done
