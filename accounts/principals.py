"""Whoever asks or acts: a person, an API key or a device, in one organisation."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal
from uuid import UUID

from accounts.models import ApiKey, Membership, Organization, User
from accounts.policy import OWNERS, Action, is_allowed
from common.errors import NotAllowed

Kind = Literal["user", "api_key", "device"]


@dataclass(frozen=True)
class Principal:
    """Who asks, in which organisation, with which role.

    `limited` means: only devices of the groups granted to `user`. `sees_all` is a superuser who
    chose all organisations: reading only, since a new row needs one organisation to belong to.
    """

    kind: Kind
    id: UUID
    label: str
    organization: Organization | None
    role: str | None
    user: User | None = None
    limited: bool = False
    sees_all: bool = False

    is_authenticated = True
    is_active = True
    is_anonymous = False

    @property
    def pk(self) -> UUID:
        return self.id

    @property
    def actor_id(self) -> str:
        return str(self.id)

    @property
    def organization_id(self) -> UUID | None:
        return self.organization.pk if self.organization else None

    def may(self, action: Action) -> bool:
        """Say whether this principal's role holds the right; some are of owners only."""
        if action in OWNERS:
            return self.user is not None and self.user.is_superuser
        return is_allowed(self.role, action)

    def require(self, action: Action) -> None:
        """Refuse with NotAllowed unless the role holds the right."""
        if not self.may(action):
            role = self.role or "no role"
            raise NotAllowed(
                f"This needs the right “{action}”; {self.label} acts here as {role}. "
                "Ask an admin of the organisation."
            )

    def acting_organization(self) -> Organization:
        """Return the one organisation a new row would belong to, or refuse."""
        if self.organization is None:
            raise NotAllowed(
                "Choose one organisation first: acting on all at once is not possible."
            )
        return self.organization


def user_principal(user: User, slug: str | None = None) -> Principal:
    """Return a person acting in the organisation named `slug`, or in their only or first one.

    A slug the person may not act in gives a principal without organisation and role: it sees
    nothing, exactly as if the organisation did not exist.
    """
    membership = None if user.is_superuser else _membership(user.pk, slug)
    return _acting(user, slug, membership)


def principal_of_user(user_id: UUID, slug: str | None) -> Principal | None:
    """Return the same for the active person with this id, None when there is none.

    A member is found in one question to the database, person and place together.
    """
    membership = _membership(user_id, slug, "user")
    user = membership.user if membership else User.objects.filter(pk=user_id).first()
    return _acting(user, slug, membership) if user and user.is_active else None


def _can_be_asked(slug: str | None) -> bool:
    """Say whether an organisation may be called so: the database refuses some characters."""
    return not slug or slug.isprintable()


def _membership(user_id: UUID, slug: str | None, *beside: str) -> Membership | None:
    if not _can_be_asked(slug):
        return None
    memberships = Membership.objects.filter(user=user_id, organization__is_active=True)
    if slug:
        memberships = memberships.filter(organization__slug=slug)
    return memberships.select_related("organization", *beside).order_by("created_at", "pk").first()


def _acting(user: User, slug: str | None, membership: Membership | None) -> Principal:
    nowhere = Principal(
        kind="user", id=user.pk, label=user.email, organization=None, role=None, user=user
    )
    if user.is_superuser:
        return _superuser_principal(nowhere, slug) if _can_be_asked(slug) else nowhere
    if membership is None:
        return nowhere
    return replace(
        nowhere,
        organization=membership.organization,
        role=membership.role,
        limited=membership.limited_to_groups,
    )


def is_still(principal: Principal, now: datetime) -> bool:
    """Say whether a person or an API key still acts as it did: for what stays open long.

    Also False when the role changed, or the password did: a new request tells what holds now.
    """
    if principal.kind == "api_key":
        key = ApiKey.objects.usable(now).filter(pk=principal.id).first()
        return key is not None and key.role == principal.role
    before = principal.user
    user = User.objects.filter(pk=principal.id, is_active=True).first()
    if user is None or before is None:
        return False
    if user.get_session_auth_hash() != before.get_session_auth_hash():
        return False
    slug = principal.organization.slug if principal.organization else None
    again = user_principal(user, ALL_ORGANIZATIONS if principal.sees_all else slug)
    return replace(again, label=principal.label) == principal


ALL_ORGANIZATIONS = "*"


def _superuser_principal(base: Principal, slug: str | None) -> Principal:
    if slug == ALL_ORGANIZATIONS:
        return replace(base, role="admin", sees_all=True)
    organizations = Organization.objects.filter(is_active=True)
    if slug:
        organizations = organizations.filter(slug=slug)
    organization = organizations.order_by("created_at", "pk").first()
    return replace(base, organization=organization, role="admin" if organization else None)


def api_key_principal(key: ApiKey) -> Principal:
    """Return an API key acting in its organisation."""
    return Principal(
        kind="api_key",
        id=key.pk,
        label=f"API key {key.name}",
        organization=key.organization,
        role=key.role,
    )


def switchable_organizations(user: User) -> list[Organization]:
    """Return the organisations a person may act in, by name."""
    return list(Organization.objects.of_user(user).order_by("name"))
