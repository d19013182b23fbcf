"""Metadata that waits for offline keys: made, signed piece by piece, put into force together."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import combinations
from typing import Any

from django.db import transaction
from tuf.api.metadata import Key, Metadata, Root

from accounts.models import Organization
from audit.services import Actor, record
from releases.errors import SignatureRefused, TrustConflict
from releases.models import TrustDraft
from releases.services.trust_repository import (
    InForce,
    in_force,
    metadata_put,
    repository_lock,
    signed_online,
    snapshot_publish,
)
from releases.trust.ceremony import signature_check
from releases.trust.roles import (
    OFFLINE,
    ROOT,
    STAGED,
    TARGETS,
    TIMESTAMP,
    is_valid,
    keys_of,
    parsed,
)


@dataclass(frozen=True)
class Waiting:
    """Whose signatures a draft can have, whose it has, and how many it still takes."""

    keys: dict[str, Key]
    signed: frozenset[str]
    missing: int


def drafts_of(organization: Organization) -> dict[str, TrustDraft]:
    """Return what waits for signatures, by role."""
    return {row.role: row for row in TrustDraft.objects.filter(organization=organization)}


def draft_put(
    repository: InForce, role: str, metadata: Metadata[Any], *, actor: Actor | None, now: datetime
) -> TrustDraft:
    """Let metadata wait for signatures, in the place of what waited for the role before.

    Signatures on what waited before are void: they were given for another text.
    """
    before = TrustDraft.objects.filter(organization=repository.organization, role=role).first()
    draft, _ = TrustDraft.objects.update_or_create(
        organization=repository.organization,
        role=role,
        defaults={
            "content": metadata.to_bytes(),
            "signatures": len(metadata.signatures),
            "threshold": 1,
            "created_at": now,
            "created_by": actor.label if actor else "",
        },
    )
    record(
        actor=actor,
        organization=repository.organization,
        action="trust.draft",
        target=draft,
        after={
            "version": metadata.signed.version,
            "void_signatures": before.signatures if before else 0,
        },
    )
    return draft


def drafts_count(repository: InForce) -> None:
    """Note at each draft how many signatures it has and takes."""
    drafts = drafts_of(repository.organization)
    for role, draft in drafts.items():
        waiting = waiting_for(repository, drafts, role)
        TrustDraft.objects.filter(pk=draft.pk).update(
            signatures=len(waiting.signed), threshold=len(waiting.signed) + waiting.missing or 1
        )


def waiting_for(repository: InForce, drafts: dict[str, TrustDraft], role: str) -> Waiting:
    """Return whose signatures count for a draft.

    A root is judged by itself and by the root in force; anything else by its delegator as it
    will be when all drafts are in force.
    """
    metadata = parsed(bytes(drafts[role].content))
    delegators: list[Any] = []
    if role == ROOT:
        delegators = [metadata.signed, *([repository.root] if repository.exists else [])]
    else:
        above = ROOT if role == TARGETS else TARGETS
        is_drafted = above in drafts
        delegators = [
            parsed(bytes(drafts[above].content)).signed
            if is_drafted
            else repository.metadata(above).signed
        ]
    results = [
        one.get_verification_result(role, metadata.signed_bytes, metadata.signatures)
        for one in delegators
    ]
    keys = {key.keyid: key for one in delegators for key in keys_of(one, role).keys}
    signed = frozenset().union(*(result.signed for result in results))
    return Waiting(keys, signed, max(result.missing for result in results))


@dataclass(frozen=True)
class Imported:
    """What became of signatures: how many count now, what is missing, what went into force."""

    role: str
    signatures: int
    missing: int
    published: tuple[str, ...]


@transaction.atomic
def signatures_add(
    *,
    organization: Organization,
    role: str,
    signatures: Sequence[dict[str, str]],
    actor: Actor | None,
    now: datetime,
) -> Imported:
    """Add signatures to what waits for the role; what has enough of them goes into force.

    Raises TrustConflict when nothing waits, SignatureRefused when one does not fit.
    """
    repository_lock(organization)
    repository = in_force(organization)
    drafts = drafts_of(organization)
    if role not in drafts:
        raise TrustConflict(
            f"Nothing of the role {role} waits for signatures. It may have enough of them already;"
            f" see manage.py keys status {organization.slug}."
        )
    waiting = waiting_for(repository, drafts, role)
    metadata = parsed(bytes(drafts[role].content))
    for one in signatures:
        if one["keyid"] not in waiting.keys:
            raise SignatureRefused(
                f"The key {one['keyid'][:12]} may not sign {role}. Use one of"
                f" {', '.join(key[:12] for key in waiting.keys)}."
            )
        signature = signature_check(waiting.keys[one["keyid"]], metadata, sig=one["sig"])
        metadata.signatures[signature.keyid] = signature
    _keep(drafts[role], metadata)
    record(
        actor=actor,
        organization=organization,
        action="trust.sign",
        target=drafts[role],
        after={"version": metadata.signed.version, "keys": [one["keyid"] for one in signatures]},
    )
    drafts = drafts_of(organization)
    waiting = waiting_for(repository, drafts, role)
    published = drafts_publish(repository, actor=actor, now=now)
    return Imported(role, len(waiting.signed), waiting.missing, published)


def _keep(draft: TrustDraft, metadata: Metadata[Any]) -> None:
    draft.content = metadata.to_bytes()
    draft.save(update_fields=["content"])


def drafts_publish(repository: InForce, *, actor: Actor | None, now: datetime) -> tuple[str, ...]:
    """Put the largest set of drafts into force that makes a valid repository; return its roles.

    A change of keys often needs several roles at once: until all of them are signed, devices go
    on with what there is.
    """
    drafts = drafts_of(repository.organization)
    ready = _ready(repository, drafts)
    for role in ready:
        metadata_put(repository, role, parsed(bytes(drafts[role].content)), now=now)
        drafts[role].delete()
    if ready:
        _follow(repository, ready, now=now)
        record(
            actor=actor,
            organization=repository.organization,
            action="trust.publish",
            target=repository.rows[ready[0]],
            after={role: repository.version(role) for role in ready},
        )
    drafts_count(repository)
    return ready


def _ready(repository: InForce, drafts: dict[str, TrustDraft]) -> tuple[str, ...]:
    present = {role: repository.metadata(role) for role in OFFLINE if role in repository.rows}
    waiting = {role: parsed(bytes(draft.content)) for role, draft in drafts.items()}
    previous: Root | None = repository.root if repository.exists else None
    for chosen in _subsets([role for role in OFFLINE if role in waiting]):
        brought = {role: waiting[role] for role in chosen}
        if is_valid({**present, **brought}, previous=previous if ROOT in brought else None):
            return chosen
    return ()


def _subsets(roles: Sequence[str]) -> Iterable[tuple[str, ...]]:
    for size in range(len(roles), 0, -1):
        yield from combinations(roles, size)


def _follow(repository: InForce, ready: tuple[str, ...], *, now: datetime) -> None:
    """Sign what the portal signs in consequence. Where it may not, the old metadata stays."""
    is_renewed = TARGETS in ready or STAGED not in repository.rows
    if is_renewed and repository.is_portals(STAGED):
        signed_online(repository, [STAGED], now=now)
    if STAGED in repository.rows and repository.is_portals(TIMESTAMP):
        snapshot_publish(repository, now=now)
