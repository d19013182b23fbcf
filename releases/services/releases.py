"""Releases while they can still be changed."""

from collections.abc import Iterable
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

from django.core.files.storage import default_storage
from django.db import IntegrityError, transaction

from accounts.models import Organization
from audit import services as audit
from audit.services import Actor
from common import limits
from common.errors import InvalidInput
from releases.errors import ReleaseConflict, ReleaseFrozen
from releases.models import ANY_ROLE, CHANGEABLE, Artifact, Release
from releases.storages import artifact_storage

# What can be changed until a release is published; its version and commit never can.
FIELDS = ["roles", "channel", "changelog", "required_migration", "feature_flags"]
# Words that stand for something else in paths.
RESERVED = {"latest"}


@transaction.atomic
def release_create(
    *, organization: Organization, values: dict[str, Any], actor: Actor, now: datetime
) -> Release:
    """Declare a release: `values` are its version, its commit and any of FIELDS.

    Raises ReleaseConflict when the version is taken, InvalidInput for a version or a role that
    means something else in paths.
    """
    _check(values)
    release = Release(
        organization=organization,
        creator_id=UUID(actor.actor_id) if actor.actor_id else None,
        created_by=actor.label[: limits.LINE_CHARS],
        created_at=now,
        **values,
    )
    try:
        with transaction.atomic():
            release.save(force_insert=True)
    except IntegrityError:
        raise ReleaseConflict(
            f"There is a release {release.version} already. A version is used once; take another."
        ) from None
    audit.record(
        actor=actor,
        organization=organization,
        action="release.create",
        target=release,
        after={name: value for name, value in values.items() if value},
    )
    return release


def _check(values: dict[str, Any]) -> None:
    version = values.get("version", "")
    if version in RESERVED or _is_id(version):
        raise InvalidInput(
            "This version means something else in paths.",
            errors={"version": ["Choose another version: this one means something else in paths."]},
        )
    if ANY_ROLE in values.get("roles", []):
        raise InvalidInput(
            f"“{ANY_ROLE}” is no role.",
            errors={"roles": [f"Leave the list empty for every role; “{ANY_ROLE}” is no role."]},
        )


def _is_id(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True


def release_locked(release: Release) -> Release:
    """Return the release as it is now; nobody else moves it until the transaction ends."""
    rows = Release.objects.select_for_update(of=("self",), no_key=True)
    return rows.select_related("organization").get(pk=release.pk)


def release_open(release: Release) -> Release:
    """Return the locked release while it can be changed. Raises ReleaseFrozen."""
    row = release_locked(release)
    if not row.is_changeable:
        raise ReleaseFrozen(
            f"Release {row.version} is {row.state} and never changes. Make a new version."
        )
    return row


def release_reopen(row: Release) -> None:
    """Make a locked, validated release a draft again: what was looked at is not there any more."""
    if row.state == Release.State.VALIDATED:
        row.state = Release.State.DRAFT
    row.validated_at, row.findings = None, []
    row.save(update_fields=["state", "validated_at", "findings"])


@transaction.atomic
def release_update(*, release: Release, changes: dict[str, Any], actor: Actor) -> Release:
    """Change any of FIELDS; a validated release becomes a draft. Raises ReleaseFrozen."""
    _check(changes)
    row = release_open(release)
    before, after = audit.changed({name: getattr(row, name) for name in changes}, changes)
    if not after:
        return row
    for name, value in after.items():
        setattr(row, name, value)
    row.save(update_fields=list(after))
    release_reopen(row)
    audit.record(
        actor=actor,
        organization=row.organization,
        action="release.update",
        target=row,
        before=before,
        after=after,
    )
    return row


@transaction.atomic
def release_delete(*, release: Release, actor: Actor) -> None:
    """Throw a release away that was never published, with its bundles. Raises ReleaseFrozen."""
    row = release_open(release)
    if row.rollouts.exists():
        raise ReleaseConflict(
            f"A rollout of release {row.version} is planned. Throw the rollout away first."
        )
    files_forget(list(row.artifacts.all()))
    audit.record(
        actor=actor,
        organization=row.organization,
        action="release.delete",
        target=row,
        before={"version": row.version, "commit": row.commit},
    )
    Release.objects.filter(pk=row.pk, state__in=CHANGEABLE).delete()


def files_forget(artifacts: Iterable[Artifact]) -> None:
    """Remove the files of bundles once the transaction has ended well."""
    for artifact in artifacts:
        kept, staged = str(artifact.file.name or ""), artifact.staged
        transaction.on_commit(partial(_remove, kept, staged))


def _remove(kept: str, staged: str) -> None:
    if kept:
        artifact_storage().delete(kept)
    if staged:
        Path(default_storage.path(staged)).unlink(missing_ok=True)
