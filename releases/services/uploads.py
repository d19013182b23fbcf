"""Taking a bundle: at once or in parts. Nobody looks inside here."""

import hashlib
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO

from django.core.files.base import File
from django.core.files.storage import default_storage
from django.db import models, transaction

from audit import services as audit
from audit.services import Actor
from common import limits
from common.ids import secret_token
from common.staging import CHUNK, StagedFile, Upload
from releases.errors import (
    ArtifactPartRefused,
    ArtifactRefused,
    ReleaseConflict,
)
from releases.models import ANY_ROLE, Artifact, Release
from releases.services.releases import files_forget, release_open, release_reopen
from releases.storages import artifact_storage

STAGING = "releases/staging"
BUNDLES = "releases/bundles"
_FULL = "There is no room to store the bundle. Keep it and send the same again later."


@dataclass(frozen=True)
class Received:
    """How far an upload is; `is_damaged` says that it was complete, wrong, and starts over."""

    artifact: Artifact
    is_damaged: bool = False


def artifact_store(
    *, release: Release, role: str, content: IO[bytes], sha256: str, actor: Actor, now: datetime
) -> Artifact:
    """Keep the bundle of a role, read once from `content`; one that was there is replaced.

    `sha256` (hex) is compared where it is not empty; the same bundle again changes nothing. Opens
    transactions of its own, none of them while bytes are read. Raises ArtifactRefused,
    StorageFull or ReleaseFrozen.
    """
    with transaction.atomic():
        check_role(release_open(release), role)
    staged = _new_staged()
    try:
        upload = _spool(content, staged)
        if sha256 and upload.sha256 != sha256.lower():
            raise ArtifactRefused("The bundle does not have the checksum named. Send it again.")
        artifact = artifact_begin(release=release, role=role, upload=upload, staged=staged, now=now)
        if artifact.status == Artifact.Status.STORED:
            return artifact
        return _keep(artifact, actor=actor)
    finally:
        _file(staged).path.unlink(missing_ok=True)


@transaction.atomic
def artifact_part_take(
    *, release: Release, role: str, offset: int, part: bytes, upload: Upload, now: datetime
) -> Artifact:
    """Write the bytes from `offset` on; a part that is there already is accepted.

    Raises ArtifactPartRefused with `received` where to go on, ArtifactRefused,
    StorageFull or ReleaseFrozen.
    """
    if not part or offset + len(part) > upload.size:
        raise ArtifactPartRefused(
            "The part is empty or reaches over the end of the bundle.", received=0
        )
    artifact = artifact_begin(
        release=release, role=role, upload=upload, now=now, restart=offset == 0
    )
    if artifact.status == Artifact.Status.STORED:
        return artifact
    file = _file(artifact.staged)
    received = artifact.received if file.size() >= artifact.received else 0
    if offset + len(part) <= received and file.holds(offset, part):
        return artifact
    if offset != received:
        raise ArtifactPartRefused(f"Go on at byte {received}.", received=received)
    with file.writing(offset=offset, count=len(part)) as content:
        content.write(part)
    artifact.received = offset + len(part)
    artifact.save(update_fields=["received"])
    return artifact


def artifact_part_store(
    *,
    release: Release,
    role: str,
    offset: int,
    part: bytes,
    upload: Upload,
    actor: Actor,
    now: datetime,
) -> Received:
    """Keep a part; the last one completes the bundle. Raises as `artifact_part_take`.

    When the whole does not have its checksum, the upload starts over at 0. The whole is read
    outside any transaction.
    """
    artifact = artifact_part_take(
        release=release, role=role, offset=offset, part=part, upload=upload, now=now
    )
    if artifact.status == Artifact.Status.STORED or artifact.received < artifact.size:
        return Received(artifact)
    if _file(artifact.staged).sha256() != artifact.sha256:
        _mine(artifact).update(received=0)
        artifact.received = 0
        return Received(artifact, is_damaged=True)
    return Received(_keep(artifact, actor=actor))


@transaction.atomic
def artifact_begin(
    *,
    release: Release,
    role: str,
    upload: Upload,
    now: datetime,
    restart: bool = True,
    staged: str = "",
) -> Artifact:
    """Return the row of the role's bundle: stored when it is this one, else one that takes bytes.

    Another bundle that is stored or was begun gives way when `restart`; `staged` is where the
    bytes lie already. Raises ArtifactRefused, ArtifactPartRefused or ReleaseFrozen.
    """
    row = release_open(release)
    check_role(row, role)
    if upload.size > limits.ARTIFACT_BYTES:
        raise ArtifactRefused(f"A bundle may have {limits.ARTIFACT_BYTES} bytes. Send less.")
    artifact = row.artifacts.select_for_update().filter(role=role).first()
    is_same = artifact is not None and (artifact.size, artifact.sha256) == (
        upload.size,
        upload.sha256,
    )
    if artifact is not None and is_same and not (staged and artifact.status == "uploading"):
        return artifact
    if artifact is not None and not restart:
        raise ArtifactPartRefused("Another bundle was begun. Start at byte 0.", received=0)
    if artifact is None:
        artifact = Artifact(
            organization_id=row.organization_id, release=row, role=role, created_at=now
        )
    else:
        files_forget([artifact])
    _reset(artifact, upload, staged)
    release_reopen(row)
    return artifact


def _reset(artifact: Artifact, upload: Upload, staged: str) -> None:
    artifact.status = Artifact.Status.UPLOADING
    artifact.size, artifact.sha256 = upload.size, upload.sha256
    artifact.received = upload.size if staged else 0
    artifact.staged, artifact.file.name = staged or _new_staged(), ""
    artifact.files, artifact.compose_path, artifact.compose_sha256 = [], "", ""
    artifact.save()


def check_role(release: Release, role: str) -> None:
    """Raise ArtifactRefused for a role the release is not made for; empty is every role."""
    if role and release.roles and role not in release.roles:
        raise ArtifactRefused(
            f"Release {release.version} is for {', '.join(release.roles)}, not for {role}. "
            f"Add the role to the release, or upload the bundle for “{ANY_ROLE}”."
        )


def _keep(artifact: Artifact, *, actor: Actor) -> Artifact:
    """Bring the whole bundle from the staging folder into the storage."""
    storage = artifact_storage()
    with _file(artifact.staged).path.open("rb") as file:
        name = storage.save(f"{BUNDLES}/{artifact.pk}-{secret_token()[:8]}.tar.gz", _Staged(file))
    with transaction.atomic():
        moved = _mine(artifact).update(
            status=Artifact.Status.STORED, file=name, staged="", received=artifact.size
        )
        if moved:
            artifact.refresh_from_db()
            audit.record(
                actor=actor,
                organization=artifact.organization,
                action="artifact.store",
                target=artifact,
                after={
                    "release": artifact.release.version,
                    "role": artifact.role_name,
                    "size": artifact.size,
                    "sha256": artifact.sha256,
                },
            )
    if not moved:
        storage.delete(name)
        raise ReleaseConflict("Another upload for this role began meanwhile. Look at it again.")
    return artifact


class _Staged(File):
    """A whole bundle; a storage on the same disk moves it instead of copying."""

    def temporary_file_path(self) -> str:
        """Return where it lies."""
        return str(self.name)


def _mine(artifact: Artifact) -> "models.QuerySet[Artifact]":
    """Return the row only while nobody else began anew."""
    return Artifact.objects.filter(
        pk=artifact.pk, status=Artifact.Status.UPLOADING, staged=artifact.staged
    )


def _new_staged() -> str:
    return f"{STAGING}/{secret_token()[:32]}"


def _file(staged: str) -> StagedFile:
    return StagedFile(Path(default_storage.path(staged)), limits.ARTIFACT_DISK_RESERVE_BYTES, _FULL)


def _spool(content: IO[bytes], staged: str) -> Upload:
    """Write what `content` gives to the staging folder; return what it was."""
    digest, size = hashlib.sha256(), 0
    whole = _file(staged)
    with whole.writing(offset=0, count=0) as file:
        while chunk := content.read(CHUNK):
            size += len(chunk)
            if size > limits.ARTIFACT_BYTES:
                raise ArtifactRefused(f"A bundle may have {limits.ARTIFACT_BYTES} bytes.")
            whole.expect_room(len(chunk))
            digest.update(chunk)
            file.write(chunk)
    if not size:
        raise ArtifactRefused("The bundle is empty. Send a tar.gz.")
    return Upload(size=size, sha256=digest.hexdigest())
