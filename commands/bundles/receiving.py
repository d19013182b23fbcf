"""Taking an archive from a device: at once or in parts. Nobody looks inside here."""

import hashlib
import shutil
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import IO

from django.core.files.storage import default_storage
from django.db import transaction

from audit import services as audit
from audit.services import Actor
from commands.errors import BundleRefused, PartRefused
from commands.models import Command, SupportBundle
from common import limits
from common.ids import uuid7
from common.staging import CHUNK, StagedFile, Upload

_FULL = "There is no room to store the bundle. Keep it and send the same part again later."


@dataclass(frozen=True)
class Received:
    """How far an upload is; `is_damaged` says that it was complete, wrong, and starts over."""

    bundle: SupportBundle
    is_damaged: bool = False


@transaction.atomic
def bundle_store(
    *, command: Command, content: IO[bytes], size: int, sha256: str, actor: Actor, now: datetime
) -> SupportBundle:
    """Keep the archive a device sends for a `bundle` command at once.

    `content` is read once and compared with `sha256` (hex); `size` is in bytes. The same archive
    sent again returns the first one. Raises BundleRefused or StorageFull.
    """
    seen = _sha256(content)
    if sha256 and seen != sha256.lower():
        raise BundleRefused("The archive does not have the checksum named. Send it again.")
    bundle = _bundle_for(command=command, upload=Upload(size=size, sha256=seen), now=now)
    if bundle.status != SupportBundle.Status.UPLOADING:
        return bundle
    content.seek(0)
    with _file(bundle).writing(offset=0, count=size) as file:
        shutil.copyfileobj(content, file, CHUNK)
    _complete(bundle, actor=actor)
    return bundle


@transaction.atomic
def bundle_part_store(
    *, command: Command, offset: int, part: bytes, upload: Upload, actor: Actor, now: datetime
) -> Received:
    """Keep the bytes from `offset` on; the last part completes the bundle.

    A part that is there already is accepted. When the whole does not have its checksum, the
    upload starts over at 0. Raises PartRefused with `received` where to go on, BundleRefused or
    StorageFull.
    """
    if not part or offset + len(part) > upload.size:
        raise PartRefused("The part is empty or reaches over the end of the archive.", received=0)
    bundle = _bundle_for(command=command, upload=upload, now=now, restart=offset == 0)
    if bundle.status != SupportBundle.Status.UPLOADING:
        return Received(bundle)
    file = _file(bundle)
    received = bundle.received if file.size() >= bundle.received else 0
    if offset + len(part) <= received and file.holds(offset, part):
        return Received(bundle)
    if offset != received:
        raise PartRefused(f"Go on at byte {received}.", received=received)
    with file.writing(offset=offset, count=len(part)) as content:
        content.write(part)
    bundle.received = offset + len(part)
    if bundle.received < bundle.size:
        bundle.save(update_fields=["received"])
        return Received(bundle)
    if file.sha256() != bundle.sha256:
        bundle.received = 0
        bundle.save(update_fields=["received"])
        return Received(bundle, is_damaged=True)
    _complete(bundle, actor=actor)
    return Received(bundle)


def _bundle_for(
    *, command: Command, upload: Upload, now: datetime, restart: bool = True
) -> SupportBundle:
    """Return the locked row of the command's bundle, a new one when there is none."""
    # Two first parts at once: the second waits here until the row is there.
    command = Command.objects.select_for_update().get(pk=command.pk)
    bundle = SupportBundle.objects.select_for_update().filter(command=command).first()
    is_same = bundle is not None and (bundle.size, bundle.sha256) == (upload.size, upload.sha256)
    if bundle is not None and bundle.status != SupportBundle.Status.UPLOADING:
        if is_same:
            return bundle
        raise BundleRefused("Another archive was sent for this command already.")
    if command.kind != "bundle" or not command.is_open:
        raise BundleRefused(f"Command {command.pk} does not wait for a bundle.")
    if upload.size > limits.BUNDLE_BYTES:
        raise BundleRefused(f"A bundle may have {limits.BUNDLE_BYTES} bytes. Send less.")
    if bundle is None:
        return _new(command=command, upload=upload, now=now)
    if not is_same:
        if not restart:
            raise PartRefused("Another archive was begun. Start at byte 0.", received=0)
        bundle.size, bundle.sha256, bundle.received = upload.size, upload.sha256, 0
        bundle.save(update_fields=["size", "sha256", "received"])
    return bundle


def _new(*, command: Command, upload: Upload, now: datetime) -> SupportBundle:
    pk = uuid7()
    state = getattr(command.device, "state", None)
    kept = timedelta(days=command.organization.bundle_retention_days)
    return SupportBundle.objects.create(
        id=pk,
        organization_id=command.organization_id,
        device=command.device,
        command=command,
        size=upload.size,
        sha256=upload.sha256,
        quarantine=f"quarantine/{now:%Y/%m/%d}/{pk}",
        device_health=state.health if state is not None else "",
        created_at=now,
        expires_at=now + kept,
    )


def _complete(bundle: SupportBundle, *, actor: Actor) -> None:
    bundle.received = bundle.size
    bundle.status = SupportBundle.Status.QUARANTINED
    bundle.save(update_fields=["received", "status"])
    audit.record(
        actor=actor,
        organization=bundle.organization,
        action="bundle.receive",
        target=bundle,
        after={
            "device": bundle.device.device_id,
            "size": bundle.size,
            "sha256": bundle.sha256,
        },
    )


def _file(bundle: SupportBundle) -> StagedFile:
    path = Path(default_storage.path(str(bundle.quarantine.name)))
    return StagedFile(path, limits.BUNDLE_DISK_RESERVE_BYTES, _FULL)


def _sha256(content: IO[bytes]) -> str:
    digest = hashlib.sha256()
    while chunk := content.read(CHUNK):
        digest.update(chunk)
    return digest.hexdigest()
