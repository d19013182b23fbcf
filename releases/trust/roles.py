"""The roles of a repository, and how the metadata of each is made. Needs neither Django nor keys.

`root` says whose signatures count and is signed by the custodians. `targets` only delegates, by
the same custodians: whoever signs it decides who may sign `general`. `staged` and `general` list
manifests. `snapshot` and `timestamp` say which versions belong together and are the newest.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any

from tuf.api.exceptions import RepositoryError, UnsignedMetadataError
from tuf.api.metadata import (
    DelegatedRole,
    Delegations,
    Key,
    Metadata,
    MetaFile,
    Role,
    Root,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)

from common import limits
from common.errors import DomainError
from releases.errors import KeyRefused

ROOT, TARGETS, SNAPSHOT, TIMESTAMP = "root", "targets", "snapshot", "timestamp"
STAGED, GENERAL = "staged", "general"
# Roles whose keys are kept away from the portal once there was a ceremony, in order of authority.
OFFLINE = (ROOT, TARGETS, GENERAL)
ROLES = (ROOT, TARGETS, GENERAL, STAGED, SNAPSHOT, TIMESTAMP)
# In a TUF pattern a star never reaches past a slash.
PATTERNS = {role: f"{role}/*/*/manifest.json" for role in (STAGED, GENERAL)}
LIFETIMES = {
    ROOT: timedelta(days=limits.TRUST_ROOT_DAYS),
    TARGETS: timedelta(days=limits.TRUST_TARGETS_DAYS),
    GENERAL: timedelta(days=limits.TRUST_GENERAL_DAYS),
    STAGED: timedelta(days=limits.TRUST_STAGED_DAYS),
    SNAPSHOT: timedelta(days=limits.TRUST_SNAPSHOT_DAYS),
    TIMESTAMP: timedelta(days=limits.TRUST_TIMESTAMP_DAYS),
}
# Who holds the key, as its maker wrote it into the public half: for people, trusted by nothing.
HOLDER = "x-fleet-holder"


@dataclass(frozen=True)
class Keys:
    """Who may sign a role, and how many of them it takes."""

    keys: tuple[Key, ...]
    threshold: int

    def __post_init__(self) -> None:
        """Raises KeyRefused when the threshold cannot be met or counts a key twice."""
        if len({key.keyid for key in self.keys}) != len(self.keys):
            raise KeyRefused("The same key is named twice. Name each key once.")
        if not 1 <= len(self.keys) <= limits.TRUST_KEYS:
            raise KeyRefused(f"Name 1 to {limits.TRUST_KEYS} keys.")
        if not 1 <= self.threshold <= len(self.keys):
            raise KeyRefused(
                f"A threshold of {self.threshold} cannot be met by {len(self.keys)} keys. Choose"
                f" 1 to {len(self.keys)}."
            )

    @property
    def ids(self) -> list[str]:
        return [key.keyid for key in self.keys]


@dataclass(frozen=True)
class TargetRecord:
    """What signed metadata says of a target: bytes, and SHA-256 in hex."""

    path: str
    length: int
    sha256: str


def expiry(role: str, now: datetime) -> datetime:
    """Return when metadata of the role that is signed now expires."""
    return (now + LIFETIMES[role]).replace(microsecond=0)


def root_metadata(*, version: int, custodians: Keys, online: Key, now: datetime) -> Metadata[Root]:
    """Return an unsigned root: custodians for root and targets, the portal's key for the rest."""
    keys = {key.keyid: key for key in (*custodians.keys, online)}
    offline = {role: Role(custodians.ids, custodians.threshold) for role in (ROOT, TARGETS)}
    portal = {role: Role([online.keyid], 1) for role in (SNAPSHOT, TIMESTAMP)}
    return Metadata(
        Root(
            version=version,
            expires=expiry(ROOT, now),
            keys=keys,
            roles={**offline, **portal},
            consistent_snapshot=True,
        )
    )


def targets_metadata(
    *, version: int, general: Keys, online: Key, now: datetime
) -> Metadata[Targets]:
    """Return unsigned delegations: `general` to its keys, `staged` to the portal's."""
    keys = {key.keyid: key for key in (*general.keys, online)}
    roles = {
        GENERAL: _delegated(GENERAL, general.ids, general.threshold),
        STAGED: _delegated(STAGED, [online.keyid], 1),
    }
    return Metadata(
        Targets(version=version, expires=expiry(TARGETS, now), delegations=Delegations(keys, roles))
    )


def _delegated(role: str, key_ids: list[str], threshold: int) -> DelegatedRole:
    # Terminating: what this role does not list, no other role can bring in under its paths.
    return DelegatedRole(role, key_ids, threshold, terminating=True, paths=[PATTERNS[role]])


def manifests_metadata(
    role: str, *, version: int, records: Iterable[TargetRecord], now: datetime
) -> Metadata[Targets]:
    """Return unsigned metadata of `staged` or `general` that lists these manifests."""
    files = {
        record.path: TargetFile(record.length, {"sha256": record.sha256}, record.path)
        for record in records
    }
    return Metadata(Targets(version=version, expires=expiry(role, now), targets=files))


def snapshot_metadata(
    *, version: int, parts: Mapping[str, tuple[int, bytes]], now: datetime
) -> Metadata[Snapshot]:
    """Return an unsigned snapshot of (version, content) by role."""
    meta = {f"{role}.json": _file(*part) for role, part in parts.items()}
    return Metadata(Snapshot(version=version, expires=expiry(SNAPSHOT, now), meta=meta))


def timestamp_metadata(
    *, version: int, snapshot: tuple[int, bytes], now: datetime
) -> Metadata[Timestamp]:
    """Return an unsigned timestamp that names this (version, content) of the snapshot."""
    return Metadata(
        Timestamp(version=version, expires=expiry(TIMESTAMP, now), snapshot_meta=_file(*snapshot))
    )


def _file(version: int, content: bytes) -> MetaFile:
    return MetaFile(version, len(content), {"sha256": sha256(content).hexdigest()})


def keys_of(delegator: Root | Targets, role: str) -> Keys:
    """Return whose signatures a delegator counts for a role."""
    named = delegator.get_delegated_role(role)
    return Keys(tuple(delegator.get_key(key_id) for key_id in named.keyids), named.threshold)


def is_signed_by(delegator: Root | Targets, role: str, metadata: Metadata[Any]) -> bool:
    """Say whether enough of the keys the delegator names for the role have signed."""
    try:
        delegator.verify_delegate(role, metadata.signed_bytes, metadata.signatures)
    except (UnsignedMetadataError, ValueError):
        return False
    return True


def is_valid(repository: Mapping[str, Metadata[Any]], *, previous: Root | None) -> bool:
    """Say whether root, targets and general belong together and each has enough signatures.

    `previous` is the root in force when `repository` brings a new one: it has to agree as well.
    """
    if not {*OFFLINE} <= set(repository):
        return False
    root, targets = repository[ROOT], repository[TARGETS]
    agreed = previous is None or is_signed_by(previous, ROOT, root)
    return (
        agreed
        and is_signed_by(root.signed, ROOT, root)
        and is_signed_by(root.signed, TARGETS, targets)
        and is_signed_by(targets.signed, GENERAL, repository[GENERAL])
    )


def role_of(metadata: Metadata[Any]) -> str:
    """Return the role of metadata somebody signs: that of `general` calls itself targets."""
    signed = metadata.signed
    if isinstance(signed, Targets) and signed.delegations is None:
        return GENERAL
    return str(signed.type)


def parsed(content: bytes) -> Metadata[Any]:
    """Return metadata the portal or its custodians made. Raises DomainError when it is none."""
    try:
        return Metadata.from_bytes(content)
    except RepositoryError as error:
        raise DomainError(f"This is no signed metadata: {error}.") from None
