"""The repository of an organisation as it is in force, and putting new metadata into force."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.conf import settings
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Metadata, Root, Targets

from accounts.models import Organization
from audit.services import Actor, record
from releases.errors import TrustConflict
from releases.models import TrustDraft, TrustMetadata, TrustTarget
from releases.trust.online import online_signer
from releases.trust.roles import (
    GENERAL,
    ROOT,
    SNAPSHOT,
    STAGED,
    TARGETS,
    TIMESTAMP,
    Keys,
    TargetRecord,
    is_signed_by,
    keys_of,
    manifests_metadata,
    parsed,
    root_metadata,
    snapshot_metadata,
    targets_metadata,
    timestamp_metadata,
)

# What a snapshot lists; it never loses one of them, devices would take that for an attack.
LISTED = (TARGETS, GENERAL, STAGED)


@dataclass
class InForce:
    """The newest metadata of every role, and the portal's key for this organisation."""

    organization: Organization
    rows: dict[str, TrustMetadata]
    online: CryptoSigner

    @property
    def exists(self) -> bool:
        return ROOT in self.rows

    def version(self, role: str) -> int:
        """Return the newest version of a role; 0 when there is none."""
        return self.rows[role].version if role in self.rows else 0

    def metadata(self, role: str) -> Metadata[Any]:
        return parsed(bytes(self.rows[role].content))

    @property
    def root(self) -> Root:
        signed: Root = self.metadata(ROOT).signed
        return signed

    @property
    def targets(self) -> Targets:
        signed: Targets = self.metadata(TARGETS).signed
        return signed

    def keys(self, role: str) -> Keys:
        """Return who signs a role."""
        delegator = self.targets if role in (GENERAL, STAGED) else self.root
        return keys_of(delegator, role)

    def is_portals(self, role: str) -> bool:
        """Say whether the portal's present key alone signs the role."""
        return self.keys(role).ids == [self.online.public_key.keyid]

    @property
    def is_online_only(self) -> bool:
        """Say whether one key of the portal, of now or of before, signs every role."""
        return self.keys(ROOT).ids == self.keys(TIMESTAMP).ids


def in_force(organization: Organization) -> InForce:
    """Return the repository as devices get it. Raises SigningKeyMissing."""
    return InForce(organization, newest(organization.pk), online_signer(organization))


def newest(organization_id: UUID) -> dict[str, TrustMetadata]:
    """Return the newest metadata of every role."""
    rows = TrustMetadata.objects.filter(organization_id=organization_id)
    return {row.role: row for row in rows.order_by("role", "-version").distinct("role")}


def repository_lock(organization: Organization) -> None:
    """Let one transaction at a time change an organisation's repository."""
    # FOR NO KEY UPDATE: rows that point at the organisation are still written meanwhile.
    Organization.objects.select_for_update(no_key=True).values_list("pk").get(pk=organization.pk)


def repository_ensure(*, organization: Organization, actor: Actor | None, now: datetime) -> InForce:
    """Return the repository, locked; make one with the portal's key for every role if need be.

    Raises TrustConflict where that is not allowed, or the root names another key of the portal.
    """
    repository_lock(organization)
    repository = in_force(organization)
    if not repository.exists:
        _refuse_without_ceremony(organization)
        return _made_online(repository, actor=actor, now=now)
    if settings.TRUST_OFFLINE_ROOT and repository.is_online_only:
        raise TrustConflict(_CEREMONY.format(slug=organization.slug))
    online_key_check(repository)
    return repository


_CEREMONY = (
    "This organisation's releases are signed by the portal's key alone, and TRUST_OFFLINE_ROOT"
    " forbids that. Hold the key ceremony (manage.py keys init {slug}, docs/keys.md), then publish"
    " again."
)


def _refuse_without_ceremony(organization: Organization) -> None:
    if TrustDraft.objects.filter(organization=organization).exists():
        raise TrustConflict(
            "The key ceremony has begun and the first metadata waits for signatures. See"
            f" manage.py keys status {organization.slug}, sign and import them, then publish again."
        )
    if settings.TRUST_OFFLINE_ROOT:
        raise TrustConflict(_CEREMONY.format(slug=organization.slug))


def online_key_check(repository: InForce) -> None:
    """Raise TrustConflict when devices would not believe what the portal signs now."""
    if repository.is_portals(TIMESTAMP) and repository.is_portals(STAGED):
        return
    raise TrustConflict(changed_key_advice(repository))


def changed_key_advice(repository: InForce) -> str:
    """Return what to do after SIGNING_KEY was changed."""
    slug = repository.organization.slug
    if repository.is_online_only:
        return (
            "SIGNING_KEY was changed, and devices believe the former one only. Set that again,"
            f" hold the key ceremony (manage.py keys init {slug}), then change it."
        )
    return (
        "SIGNING_KEY was changed: devices do not believe what the portal signs now. Run"
        f" manage.py keys rotate {slug} --online, have it signed, then try again."
    )


def _made_online(repository: InForce, *, actor: Actor | None, now: datetime) -> InForce:
    key = repository.online.public_key
    alone = Keys((key,), 1)
    first: dict[str, Metadata[Any]] = {
        ROOT: root_metadata(version=1, custodians=alone, online=key, now=now),
        TARGETS: targets_metadata(version=1, general=alone, online=key, now=now),
        GENERAL: manifests_metadata(GENERAL, version=1, records=[], now=now),
        STAGED: manifests_metadata(STAGED, version=1, records=[], now=now),
    }
    for role, metadata in first.items():
        metadata.sign(repository.online)
        metadata_put(repository, role, metadata, now=now)
    snapshot_publish(repository, now=now)
    record(
        actor=actor,
        organization=repository.organization,
        action="trust.create",
        target=repository.rows[ROOT],
        after={"mode": "online only", "key": key.keyid},
    )
    return repository


def metadata_put(
    repository: InForce, role: str, metadata: Metadata[Any], *, now: datetime
) -> TrustMetadata:
    """Store signed metadata and note since when its targets are signed."""
    row = TrustMetadata.objects.create(
        organization=repository.organization,
        role=role,
        version=metadata.signed.version,
        content=metadata.to_bytes(),
        expires_at=metadata.signed.expires,
        created_at=now,
    )
    repository.rows[role] = row
    if role in (GENERAL, STAGED):
        targets = TrustTarget.objects.filter(
            organization=repository.organization, path__in=list(metadata.signed.targets)
        )
        targets.filter(signed_at__isnull=True).update(signed_at=now)
    return row


def snapshot_publish(repository: InForce, *, now: datetime) -> None:
    """Sign a snapshot of what is in force, and the timestamp that points at it."""
    parts = {
        role: (row.version, bytes(row.content))
        for role, row in repository.rows.items()
        if role in LISTED
    }
    version = repository.version(SNAPSHOT) + 1
    snapshot = snapshot_metadata(version=version, parts=parts, now=now)
    snapshot.sign(repository.online)
    metadata_put(repository, SNAPSHOT, snapshot, now=now)
    timestamp_publish(repository, now=now)


def timestamp_publish(repository: InForce, *, now: datetime) -> None:
    """Sign a timestamp for the snapshot in force."""
    row = repository.rows[SNAPSHOT]
    timestamp = timestamp_metadata(
        version=repository.version(TIMESTAMP) + 1,
        snapshot=(row.version, bytes(row.content)),
        now=now,
    )
    timestamp.sign(repository.online)
    metadata_put(repository, TIMESTAMP, timestamp, now=now)


def wanted_records(organization: Organization, role: str) -> list[TargetRecord]:
    """Return the manifests that metadata of the role has to list now."""
    rows = TrustTarget.objects.filter(
        organization=organization, path__startswith=f"{role}/", withdrawn_at__isnull=True
    )
    return [
        TargetRecord(path, len(content), digest)
        for path, content, digest in rows.values_list("path", "content", "sha256").order_by("path")
    ]


def next_of(repository: InForce, role: str, *, now: datetime) -> Metadata[Any]:
    """Return the next version of a role with the same keys and a new expiry, unsigned.

    `staged` and `general` list what they have to list now.
    """
    version = repository.version(role) + 1
    online = repository.online.public_key
    if role == ROOT:
        return root_metadata(
            version=version, custodians=repository.keys(ROOT), online=online, now=now
        )
    if role == TARGETS:
        return targets_metadata(
            version=version, general=repository.keys(GENERAL), online=online, now=now
        )
    records = wanted_records(repository.organization, role)
    return manifests_metadata(role, version=version, records=records, now=now)


def signed_online(repository: InForce, roles: Iterable[str], *, now: datetime) -> list[str]:
    """Put the next version of roles into force that the portal may sign; return those it may not.

    The snapshot is left to the caller.
    """
    left = []
    for role in roles:
        if not repository.is_portals(role):
            left.append(role)
            continue
        metadata = next_of(repository, role, now=now)
        metadata.sign(repository.online)
        metadata_put(repository, role, metadata, now=now)
    return left


def is_delegated(repository: InForce, role: str) -> bool:
    """Say whether metadata in force has the signatures the delegations in force want."""
    delegator = repository.root if role in (ROOT, TARGETS) else repository.targets
    return is_signed_by(delegator, role, repository.metadata(role))
