"""From quarantine to what is shown: one bundle at a time, by a process that may die doing it."""

import json
import subprocess
import tempfile
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import structlog
from django.core.files.storage import default_storage
from django.db import transaction

from audit import services as audit
from commands.models import SupportBundle
from common import limits
from common.apart import run_apart
from common.db import fetch_one

log = structlog.get_logger(__name__)

# Session locks of the bundles being processed: who holds one is alive.
_LOCKS = 0x6275_6E64
_GRACE = timedelta(seconds=5)


def bundles_recover(*, now: datetime) -> int:
    """Put back what a dead worker left in the middle; return how many.

    One that was begun `limits.BUNDLE_TRIES` times is refused: it kills whoever touches it.
    """
    left = SupportBundle.objects.filter(status="processing", processing_since__lte=now - _GRACE)
    moved = 0
    for pk in left.values_list("pk", flat=True)[:50]:
        with transaction.atomic():
            if not _lock(pk.int, "pg_try_advisory_xact_lock"):
                continue
            bundle = left.select_for_update(skip_locked=True).filter(pk=pk).first()
            if bundle is None:
                continue
            moved += 1
            if bundle.tries >= limits.BUNDLE_TRIES:
                _refuse(bundle, _killed(), now=now)
            else:
                bundle.status = SupportBundle.Status.QUARANTINED
                bundle.save(update_fields=["status"])
    return moved


def bundle_process_next(*, now: datetime) -> bool:
    """Process the bundle that waits longest; False when none waits.

    The row is claimed first, so that two workers never take the same one, and what happened is
    written only while it is still claimed.
    """
    bundle = _claim(now)
    if bundle is None:
        return False
    try:
        with tempfile.TemporaryFile() as kept:
            said = _read(bundle, kept)
            _finish(bundle, said, kept, now=now)
    finally:
        _lock(bundle.pk.int, "pg_advisory_unlock")
    return True


def _lock(number: int, function: str) -> bool:
    """Call one of PostgreSQL's advisory lock functions for a bundle."""
    return bool(fetch_one(f"SELECT {function}(%s, %s)", [_LOCKS, number % 2**31])[0])


@transaction.atomic
def _claim(now: datetime) -> SupportBundle | None:
    waiting = SupportBundle.objects.waiting().select_related("organization", "device")
    locked = waiting.select_for_update(skip_locked=True, of=("self",))
    bundle: SupportBundle | None = locked.order_by("id").first()
    if bundle is None or not _lock(bundle.pk.int, "pg_try_advisory_lock"):
        return None
    bundle.status = SupportBundle.Status.PROCESSING
    bundle.tries += 1
    bundle.processing_since = now
    bundle.save(update_fields=["status", "tries", "processing_since"])
    return bundle


def _read(bundle: SupportBundle, kept: Any) -> dict[str, Any] | None:
    """Run the reader; None when it died."""
    try:
        with default_storage.open(str(bundle.quarantine.name), "rb") as archive:
            done = run_apart(
                "commands.bundles.process",
                files=(archive.fileno(), kept.fileno()),
                timeout_s=limits.BUNDLE_READER_WALL_S,
            )
    except FileNotFoundError:
        return {"refused": "The archive is no longer stored."}
    except subprocess.TimeoutExpired:
        return {"refused": f"Reading took longer than {limits.BUNDLE_READER_WALL_S} s."}
    if done.returncode != 0:
        tail = done.stderr[-2_000:].decode("utf-8", "replace")
        log.error("bundle_reader_died", bundle=str(bundle.pk), code=done.returncode, said=tail)
        return None
    said: dict[str, Any] = json.loads(done.stdout)
    return said


def _finish(
    bundle: SupportBundle, said: dict[str, Any] | None, kept: Any, *, now: datetime
) -> None:
    name = f"bundles/{now:%Y/%m/%d}/{bundle.pk}.zip"
    if said is not None and "refused" not in said:
        kept.seek(0)
        # One of a try that died after this line would make the storage choose another name.
        default_storage.delete(name)
        name = default_storage.save(name, kept)
    with transaction.atomic():
        mine = SupportBundle.objects.select_for_update().filter(
            pk=bundle.pk, status="processing", tries=bundle.tries
        )
        row = mine.select_related("organization", "device").first()
        if row is None:
            return
        if said is None:
            _note_death(row, now=now)
        elif "refused" in said:
            _refuse(row, str(said["refused"]), now=now)
        else:
            _make_ready(row, said, name, now=now)


def _note_death(bundle: SupportBundle, *, now: datetime) -> None:
    if bundle.tries >= limits.BUNDLE_TRIES:
        _refuse(bundle, _killed(), now=now)
    else:
        bundle.status = SupportBundle.Status.QUARANTINED
        bundle.save(update_fields=["status"])


def _killed() -> str:
    return f"Reading it ended its process {limits.BUNDLE_TRIES} times. Ask the device for another."


def _make_ready(bundle: SupportBundle, said: dict[str, Any], name: str, *, now: datetime) -> None:
    bundle.manifest = said["manifest"]
    bundle.redactions = said["redactions"]
    bundle.findings = said["findings"]
    bundle.file.name = name
    bundle.kept_size = default_storage.size(name)
    after = {
        "files": len(bundle.manifest),
        "findings": len(bundle.findings),
        "redactions": sum(one["count"] for one in bundle.redactions),
    }
    _end(bundle, SupportBundle.Status.READY, "bundle.process", after, now=now)


def _refuse(bundle: SupportBundle, reason: str, *, now: datetime) -> None:
    bundle.error = reason[: limits.LINE_CHARS]
    _end(bundle, SupportBundle.Status.REFUSED, "bundle.refuse", {"error": bundle.error}, now=now)


def _end(
    bundle: SupportBundle, status: str, action: str, after: dict[str, Any], *, now: datetime
) -> None:
    """Close the bundle; what the device sent goes once that is certain."""
    sent = bundle.quarantine.name
    bundle.status = SupportBundle.Status(status)
    bundle.quarantine.name = ""
    bundle.processed_at = now
    bundle.save()
    audit.record(
        actor=None, organization=bundle.organization, action=action, target=bundle, after=after
    )
    if sent:
        transaction.on_commit(lambda: Path(default_storage.path(sent)).unlink(missing_ok=True))
