"""Whose keys count: first ceremony, rotation, loss, new expiries. All of it needs signing."""

from dataclasses import replace
from datetime import datetime
from typing import Any

from django.db import transaction
from tuf.api.metadata import Key, Metadata

from accounts.models import Organization
from audit.services import Actor, record
from releases.errors import KeyRefused, TrustConflict
from releases.services.trust_drafts import draft_put, drafts_of, drafts_publish
from releases.services.trust_repository import (
    InForce,
    in_force,
    next_of,
    online_key_check,
    repository_lock,
)
from releases.trust.ceremony import named
from releases.trust.roles import (
    GENERAL,
    OFFLINE,
    ROOT,
    TARGETS,
    Keys,
    root_metadata,
    targets_metadata,
)


@transaction.atomic
def trust_init(
    *, organization: Organization, root: Keys, general: Keys, actor: Actor | None, now: datetime
) -> tuple[str, ...]:
    """Draft root, targets and general with keys the portal does not hold; return what waits.

    A repository of the portal's key alone is taken over: the portal signs the new root as the old
    one wants it, so devices follow. Raises TrustConflict when there was a ceremony already.
    """
    repository_lock(organization)
    repository = in_force(organization)
    if repository.exists and not repository.is_online_only:
        raise TrustConflict(
            "There was a key ceremony already. Change keys with manage.py keys rotate"
            f" {organization.slug}."
        )
    if repository.exists:
        online_key_check(repository)
    for keys in (root, general):
        _refuse_portals(repository, keys)
    _draft(repository, root=root, general=general, actor=actor, now=now)
    record(
        actor=actor,
        organization=organization,
        action="trust.init",
        target=organization,
        after={"root": _shown(root), "general": _shown(general)},
    )
    return tuple(drafts_of(organization))


@transaction.atomic
def trust_rotate(
    *,
    organization: Organization,
    root: Keys | None = None,
    general: Keys | None = None,
    is_online: bool = False,
    actor: Actor | None,
    now: datetime,
) -> tuple[str, ...]:
    """Draft what names new custodians, new keys for general, or the portal's present key.

    Raises TrustConflict before the first ceremony. Returns the roles that wait for signatures.
    """
    repository = _after_ceremony(organization)
    if root is None and general is None and not is_online:
        raise KeyRefused("Say what to rotate: new root keys, new general keys, or --online.")
    for keys in (root, general):
        if keys is not None:
            _refuse_portals(repository, keys)
    _draft(repository, root=root, general=general, is_online=is_online, actor=actor, now=now)
    record(
        actor=actor,
        organization=organization,
        action="trust.rotate",
        target=organization,
        after={
            "root": _shown(root) if root else None,
            "general": _shown(general) if general else None,
            "online": repository.online.public_key.keyid if is_online else None,
        },
    )
    return tuple(drafts_of(organization))


@transaction.atomic
def trust_revoke(
    *,
    organization: Organization,
    key_id: str,
    successor: Key | None,
    actor: Actor | None,
    now: datetime,
) -> tuple[str, ...]:
    """Draft what does without a lost or stolen key, with a successor in its place or without.

    `key_id` may be the beginning of it. Raises KeyRefused when it names no key, or the others do
    not meet the threshold.
    """
    repository = _after_ceremony(organization)
    changed = {
        role: _without(keys, found, successor)
        for role in (ROOT, GENERAL)
        if (found := _named_key(keys := repository.keys(role), key_id))
    }
    if not changed:
        raise KeyRefused(
            f"No offline key begins with {key_id}. Name at least {MIN_KEY_ID} digits of a key of"
            f" manage.py keys status {organization.slug}."
        )
    for keys in changed.values():
        _refuse_portals(repository, keys)
    _draft(
        repository,
        root=changed.get(ROOT),
        general=changed.get(GENERAL),
        actor=actor,
        now=now,
    )
    record(
        actor=actor,
        organization=organization,
        action="trust.revoke",
        target=organization,
        after={
            "key": key_id,
            "roles": list(changed),
            "successor": named(successor) if successor else None,
        },
    )
    return tuple(drafts_of(organization))


MIN_KEY_ID = 8


def _named_key(keys: Keys, key_id: str) -> Key | None:
    """Return the one key whose id begins so; the beginning has to be long enough."""
    found = [key for key in keys.keys if key.keyid.startswith(key_id)]
    return found[0] if len(found) == 1 and len(key_id) >= MIN_KEY_ID else None


@transaction.atomic
def trust_renew(
    *, organization: Organization, role: str, actor: Actor | None, now: datetime
) -> tuple[str, ...]:
    """Draft the next version of an offline role with the same keys and a new expiry."""
    if role not in OFFLINE:
        raise KeyRefused(f"The portal renews {role} by itself. Renew {', '.join(OFFLINE)}.")
    repository = _after_ceremony(organization)
    metadata = next_of(repository, role, now=now)
    draft_put(repository, role, metadata, actor=actor, now=now)
    drafts_publish(repository, actor=actor, now=now)
    return tuple(drafts_of(organization))


def _after_ceremony(organization: Organization) -> InForce:
    repository_lock(organization)
    repository = in_force(organization)
    if not repository.exists or repository.is_online_only:
        raise TrustConflict(
            f"There was no key ceremony yet. Begin with manage.py keys init {organization.slug}."
        )
    return repository


def _refuse_portals(repository: InForce, keys: Keys) -> None:
    if repository.online.public_key.keyid in keys.ids:
        raise KeyRefused("The portal's own key cannot be an offline key. Leave it out.")


def _without(keys: Keys, lost: Key, successor: Key | None) -> Keys:
    rest = tuple(key for key in keys.keys if key != lost)
    if successor is None and len(rest) < keys.threshold:
        raise KeyRefused(
            f"Without {named(lost)} there are {len(rest)} keys, and {keys.threshold} have to sign."
            " Name a successor with --successor."
        )
    return replace(keys, keys=(*rest, successor) if successor else rest)


def _draft(
    repository: InForce,
    *,
    root: Keys | None = None,
    general: Keys | None = None,
    is_online: bool = False,
    actor: Actor | None,
    now: datetime,
) -> None:
    """Draft every role a change of keys touches, then sign as the portal where that counts."""
    wanted: dict[str, Metadata[Any]] = {}
    online = repository.online.public_key
    if root is not None or is_online:
        custodians = root or repository.keys(ROOT)
        version = repository.version(ROOT) + 1
        wanted[ROOT] = root_metadata(version=version, custodians=custodians, online=online, now=now)
    # The custodians sign it: it changes with them.
    signers = general or repository.keys(GENERAL)
    version = repository.version(TARGETS) + 1
    wanted[TARGETS] = targets_metadata(version=version, general=signers, online=online, now=now)
    if general is not None:
        wanted[GENERAL] = next_of(repository, GENERAL, now=now)
    if repository.exists and repository.is_online_only and ROOT in wanted:
        wanted[ROOT].sign(repository.online)
    for role, metadata in wanted.items():
        draft_put(repository, role, metadata, actor=actor, now=now)
    drafts_publish(repository, actor=actor, now=now)


def _shown(keys: Keys) -> dict[str, Any]:
    return {"threshold": keys.threshold, "keys": [named(key) for key in keys.keys]}
