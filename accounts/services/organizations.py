"""Organisations, their people and their API keys."""

from datetime import datetime
from typing import Any

from django.contrib.auth.hashers import make_password
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction

from accounts.errors import AlreadyMember, LastAdmin, PasswordTooWeak, SlugTaken
from accounts.models import ApiKey, Membership, Organization, User
from accounts.policy import Role
from audit import services as audit
from audit.services import Actor
from common.ids import secret_digest, secret_token


@transaction.atomic
def organization_create(*, name: str, slug: str, actor: Actor | None) -> Organization:
    """Make a tenant. Raises SlugTaken."""
    try:
        with transaction.atomic():
            organization = Organization.objects.create(name=name, slug=slug)
    except IntegrityError:
        raise SlugTaken(f"An organisation “{slug}” exists already. Choose another slug.") from None
    audit.record(
        actor=actor,
        organization=organization,
        action="organization.create",
        target=organization,
        after={"name": name, "slug": slug},
    )
    return organization


@transaction.atomic
def organization_update(
    *, organization: Organization, changes: dict[str, Any], actor: Actor | None
) -> Organization:
    """Write the named settings of an organisation."""
    before, after = audit.changed({name: getattr(organization, name) for name in changes}, changes)
    if not after:
        return organization
    for name, value in after.items():
        setattr(organization, name, value)
    organization.save(update_fields=list(after))
    audit.record(
        actor=actor,
        organization=organization,
        action="organization.update",
        target=organization,
        before=before,
        after=after,
    )
    return organization


def _password_accept(password: str, user: User) -> None:
    try:
        validate_password(password, user)
    except ValidationError as error:
        raise PasswordTooWeak(" ".join(error.messages)) from None


@transaction.atomic
def member_add(
    *,
    organization: Organization,
    email: str,
    role: str,
    actor: Actor | None,
    name: str = "",
    password: str | None = None,
    limited_to_groups: bool = False,
) -> tuple[Membership, str]:
    """Make a person a member; return the membership and a first password.

    The password is made up unless given. It opens a new account; somebody who has an account
    keeps their password, and this one opens nothing: an admin does not learn here who is known
    to other organisations. Raises AlreadyMember or PasswordTooWeak.
    """
    user = User.objects.filter(email__iexact=email).first()
    first_password = password or secret_token()[:20]
    _password_accept(first_password, User(email=email, name=name))
    if user is None:
        user = User.objects.create_user(email, first_password, name=name)
    else:
        # Time does not tell either.
        make_password(first_password)
    try:
        with transaction.atomic():
            membership = Membership.objects.create(
                organization=organization, user=user, role=role, limited_to_groups=limited_to_groups
            )
    except IntegrityError:
        raise AlreadyMember(f"{email} is a member of {organization} already.") from None
    audit.record(
        actor=actor,
        organization=organization,
        action="member.add",
        target=user,
        after={"role": role, "limited_to_groups": limited_to_groups},
    )
    return membership, first_password


def _keep_an_admin(membership: Membership) -> None:
    """Refuse to take the last admin's role; waits for others who try the same at once."""
    Organization.objects.select_for_update().get(pk=membership.organization_id)
    others = Membership.objects.filter(
        organization_id=membership.organization_id, role=Role.ADMIN, user__is_active=True
    ).exclude(pk=membership.pk)
    if membership.role == Role.ADMIN and not others.exists():
        raise LastAdmin("This is the organisation's last admin. Make somebody else admin first.")


@transaction.atomic
def member_update(
    *, membership: Membership, changes: dict[str, Any], actor: Actor | None
) -> Membership:
    """Change role or limits of a member. Raises LastAdmin."""
    before, after = audit.changed({name: getattr(membership, name) for name in changes}, changes)
    if not after:
        return membership
    if after.get("role", Role.ADMIN) != Role.ADMIN or after.get("limited_to_groups"):
        _keep_an_admin(membership)
    for name, value in after.items():
        setattr(membership, name, value)
    membership.save(update_fields=list(after))
    audit.record(
        actor=actor,
        organization=membership.organization,
        action="member.update",
        target=membership.user,
        before=before,
        after=after,
    )
    return membership


@transaction.atomic
def member_remove(*, membership: Membership, actor: Actor | None) -> None:
    """Take a person out of an organisation; their account and their entries in the log stay."""
    _keep_an_admin(membership)
    audit.record(
        actor=actor,
        organization=membership.organization,
        action="member.remove",
        target=membership.user,
        before={"role": membership.role},
    )
    membership.delete()


@transaction.atomic
def api_key_issue(
    *,
    organization: Organization,
    name: str,
    role: str,
    expires_at: datetime | None,
    actor: Actor | None,
) -> tuple[ApiKey, str]:
    """Issue an API key; return it and its secret, which is shown this once."""
    token = secret_token()
    secret = f"fk_{token}"
    key = ApiKey.objects.create(
        organization=organization,
        name=name,
        role=role,
        expires_at=expires_at,
        prefix=secret[:11],
        sha256=secret_digest(secret),
    )
    audit.record(
        actor=actor,
        organization=organization,
        action="api_key.issue",
        target=key,
        after={
            "name": name,
            "role": role,
            "expires_at": expires_at.isoformat() if expires_at else None,
        },
    )
    return key, secret


@transaction.atomic
def api_key_revoke(*, key: ApiKey, actor: Actor | None, now: datetime) -> None:
    """End an API key at once. Revoking twice changes nothing."""
    if ApiKey.objects.filter(pk=key.pk, revoked_at=None).update(revoked_at=now):
        audit.record(
            actor=actor, organization=key.organization, action="api_key.revoke", target=key
        )
