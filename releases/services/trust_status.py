"""How the keys of an organisation stand: who signs what, until when, and what waits."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from tuf.api.metadata import Key

from accounts.models import Organization
from common import limits
from releases.errors import TrustConflict
from releases.models import TrustDraft
from releases.services.trust_drafts import drafts_of, waiting_for
from releases.services.trust_repository import InForce, changed_key_advice, in_force
from releases.trust.roles import (
    GENERAL,
    HOLDER,
    OFFLINE,
    ROLES,
    ROOT,
    STAGED,
    TARGETS,
    TIMESTAMP,
)

WARN_BEFORE = timedelta(days=limits.TRUST_WARN_DAYS)


@dataclass(frozen=True)
class KeyStatus:
    """A key: its id, who holds it as its maker wrote, and whether the portal has it."""

    id: str
    holder: str
    is_portals: bool


@dataclass(frozen=True)
class RoleStatus:
    """A role in force: who signs it and until when it is believed."""

    role: str
    version: int
    expires_at: datetime
    threshold: int
    keys: list[KeyStatus]
    is_expired: bool
    nears_expiry: bool


@dataclass(frozen=True)
class DraftStatus:
    """What waits: how many signatures are there, how many are missing, whose they can be."""

    role: str
    version: int
    signatures: int
    missing: int
    unsigned: list[KeyStatus]
    created_at: datetime
    created_by: str


@dataclass(frozen=True)
class TrustStatus:
    """`mode` is none, ceremony (begun), online (the portal's key alone) or offline."""

    mode: str
    roles: list[RoleStatus] = field(default_factory=list)
    drafts: list[DraftStatus] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def trust_status(*, organization: Organization, now: datetime) -> TrustStatus:
    """Return how the organisation's keys stand, with a sentence for all that needs somebody."""
    repository = in_force(organization)
    drafts = drafts_of(organization)
    roles = _roles(repository, now) if repository.exists else []
    waiting = [_draft(repository, drafts, role) for role in OFFLINE if role in drafts]
    return TrustStatus(
        mode=_mode(repository, drafts),
        roles=roles,
        drafts=waiting,
        warnings=_warnings(repository, drafts, roles),
    )


def _mode(repository: InForce, drafts: dict[str, TrustDraft]) -> str:
    if not repository.exists:
        return "ceremony" if drafts else "none"
    return "online" if repository.is_online_only else "offline"


def _roles(repository: InForce, now: datetime) -> list[RoleStatus]:
    found = []
    for role in ROLES:
        row = repository.rows.get(role)
        if row is None:
            continue
        keys = repository.keys(role)
        found.append(
            RoleStatus(
                role=role,
                version=row.version,
                expires_at=row.expires_at,
                threshold=keys.threshold,
                keys=[_key(repository, key) for key in keys.keys],
                is_expired=row.expires_at <= now,
                nears_expiry=role in OFFLINE and row.expires_at <= now + WARN_BEFORE,
            )
        )
    return found


def _key(repository: InForce, key: Key) -> KeyStatus:
    return KeyStatus(
        id=key.keyid,
        holder=str(key.unrecognized_fields.get(HOLDER, "")),
        is_portals=key.keyid == repository.online.public_key.keyid,
    )


def _draft(repository: InForce, drafts: dict[str, TrustDraft], role: str) -> DraftStatus:
    draft = drafts[role]
    waiting = waiting_for(repository, drafts, role)
    unsigned = [key for key in waiting.keys.values() if key.keyid not in waiting.signed]
    return DraftStatus(
        role=role,
        version=repository.version(role) + 1,
        signatures=len(waiting.signed),
        missing=waiting.missing,
        unsigned=[_key(repository, key) for key in unsigned],
        created_at=draft.created_at,
        created_by=draft.created_by,
    )


def _warnings(
    repository: InForce, drafts: dict[str, TrustDraft], roles: list[RoleStatus]
) -> list[str]:
    slug = repository.organization.slug
    found = []
    if repository.exists and repository.is_online_only:
        found.append(
            "The portal's key signs everything: whoever steals it can install what they like."
            f" Hold the key ceremony: manage.py keys init {slug}."
        )
    if repository.exists and not (
        repository.is_portals(TIMESTAMP) and repository.is_portals(STAGED)
    ):
        found.append(changed_key_advice(repository))
    if drafts:
        found.append(f"Signatures are missing for {', '.join(sorted(drafts))}.")
    found += [
        f"{one.role} {'expired' if one.is_expired else 'expires'} on"
        f" {one.expires_at:%Y-%m-%d}. Run manage.py keys renew {slug} {one.role}, have it signed."
        for one in roles
        if one.nears_expiry and one.role not in drafts and _is_offline(repository, one.role)
    ]
    found += [
        f"{one.role} expired on {one.expires_at:%Y-%m-%d %H:%M} UTC: devices refuse every update."
        " The portal signs it by itself: see that its worker and its clock (beat) run."
        for one in roles
        if one.is_expired and not _is_offline(repository, one.role)
    ]
    found += [
        f"{one.role}: all {len(one.keys)} keys have to sign. With one of them lost, nobody can."
        f" Name more: manage.py keys rotate {slug} --{one.role}."
        for one in roles
        if one.role in (ROOT, GENERAL)
        and _is_offline(repository, one.role)
        and len(one.keys) == one.threshold
    ]
    return found


def _is_offline(repository: InForce, role: str) -> bool:
    return not repository.is_portals(role)


def draft_of(*, organization: Organization, role: str) -> TrustDraft:
    """Return what waits for the role. Raises TrustConflict when nothing does."""
    draft = drafts_of(organization).get(role)
    if draft is None:
        raise TrustConflict(
            f"Nothing of the role {role} waits for signatures; roles that can are"
            f" {', '.join((ROOT, TARGETS, GENERAL))}."
        )
    return draft
