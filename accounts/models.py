"""Organisations, the people and programs that act in them, and their roles."""

from datetime import datetime
from typing import TYPE_CHECKING, Any, Self

from django.contrib.auth.models import AbstractBaseUser, BaseUserManager, PermissionsMixin
from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models, transaction
from django.db.models import Q
from django.db.models.functions import Lower

from accounts.policy import Role
from accounts.tenancy import TenantQuerySet
from audit import services as audit
from common import limits
from common.ids import uuid7

if TYPE_CHECKING:
    from accounts.principals import Principal


SLUG = RegexValidator(r"^[a-z0-9](?:[a-z0-9-]*[a-z0-9])?$")


class OrganizationQuerySet(models.QuerySet["Organization"]):
    def visible_to(self, principal: "Principal") -> "OrganizationQuerySet":
        """The organisation the principal acts in; all of them for one who sees all."""
        if principal.sees_all:
            return self.all()
        return self.filter(pk=principal.organization_id)

    def of_user(self, user: "User") -> "OrganizationQuerySet":
        """The organisations a person may switch to."""
        if user.is_superuser:
            return self.filter(is_active=True)
        return self.filter(is_active=True, memberships__user=user)


class Organization(models.Model):
    """A tenant: nothing of one is ever visible in another."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    name = models.CharField(max_length=limits.NAME_CHARS)
    slug = models.CharField(
        max_length=limits.SLUG_CHARS,
        unique=True,
        validators=[SLUG],
        help_text="Names the organisation in X-Organization: lower-case letters, digits, hyphens.",
    )
    is_active = models.BooleanField(default=True)
    allow_self_enrollment = models.BooleanField(
        default=False,
        help_text="Devices may register without a credential; they wait until accepted.",
    )
    heartbeat_interval_s = models.PositiveIntegerField(
        default=60,
        validators=[
            MinValueValidator(limits.HEARTBEAT_INTERVAL_MIN_S),
            MaxValueValidator(limits.HEARTBEAT_INTERVAL_MAX_S),
        ],
        help_text="Seconds between two heartbeats of a device that has no interval of its own.",
    )
    command_poll_interval_s = models.PositiveIntegerField(
        default=30, validators=[MinValueValidator(1), MaxValueValidator(86_400)]
    )
    heartbeat_retention_days = models.PositiveIntegerField(
        default=30, validators=[MinValueValidator(1), MaxValueValidator(3_650)]
    )
    batch_approval_above = models.PositiveIntegerField(
        null=True,
        blank=True,
        help_text="A batch for more devices than this needs a second person. Empty: none does.",
    )
    bundle_retention_days = models.PositiveIntegerField(
        default=30, validators=[MinValueValidator(1), MaxValueValidator(3_650)]
    )
    bundle_quota_mb = models.PositiveIntegerField(
        default=5_000, help_text="Megabytes of support bundles kept; over it the oldest go."
    )
    rollout_approval_above = models.PositiveIntegerField(
        null=True,
        blank=True,
        help_text="A rollout to more devices than this needs a second person. Empty: none does.",
    )
    drift_auto_repair = models.BooleanField(
        default=False, help_text="Files that differ from the release are put back by themselves."
    )
    drift_repairs_per_hour = models.PositiveIntegerField(
        default=20, help_text="Devices repaired by themselves in an hour, at the most."
    )
    created_at = models.DateTimeField(auto_now_add=True)

    objects = OrganizationQuerySet.as_manager()

    class Meta:
        verbose_name = "organisation"
        constraints = [
            models.CheckConstraint(
                condition=Q(
                    heartbeat_interval_s__range=(
                        limits.HEARTBEAT_INTERVAL_MIN_S,
                        limits.HEARTBEAT_INTERVAL_MAX_S,
                    )
                ),
                name="organization_heartbeat_interval_bounded",
            ),
        ]

    def __str__(self) -> str:
        return self.name


class UserManager(BaseUserManager["User"]):
    def get_by_natural_key(self, username: str | None) -> "User":
        """E-mail addresses are compared without regard to case."""
        return self.get(email__iexact=username)

    def create_user(self, email: str, password: str | None = None, **fields: Any) -> "User":
        """Make a person; no password means no sign-in by password."""
        user = self.model(email=self.normalize_email(email).lower(), **fields)
        user.set_password(password)
        user.save(using=self._db)
        return user

    def create_superuser(self, email: str, password: str | None = None, **fields: Any) -> "User":
        """Make a person who owns the installation; the log says that there is one more."""
        with transaction.atomic(using=self._db):
            user = self.create_user(email, password, is_superuser=True, **fields)
            audit.record(actor=None, organization=None, action="user.own", target=user)
        return user


class UserQuerySet(models.QuerySet["User"]):
    def visible_to(self, principal: "Principal") -> "UserQuerySet":
        """People with a membership where the principal acts."""
        if principal.sees_all:
            return self.all()
        if principal.organization_id is None:
            return self.none()
        return self.filter(memberships__organization_id=principal.organization_id)


class User(AbstractBaseUser, PermissionsMixin):
    """A person, known by e-mail. Roles are held per organisation, by membership."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    email = models.EmailField(
        "e-mail",
        max_length=254,
        unique=True,
        error_messages={"unique": "Somebody with this e-mail address exists already."},
    )
    name = models.CharField(max_length=limits.NAME_CHARS, blank=True)
    is_active = models.BooleanField(default=True)
    created_at = models.DateTimeField(auto_now_add=True)

    objects = UserManager.from_queryset(UserQuerySet)()

    USERNAME_FIELD = "email"
    EMAIL_FIELD = "email"

    class Meta:
        constraints = [
            # Two spellings of one address are one person.
            models.CheckConstraint(condition=Q(email=Lower("email")), name="user_email_lower"),
        ]

    def __str__(self) -> str:
        return self.email

    def get_full_name(self) -> str:
        """The person's name, or their address."""
        return self.name or self.email

    @property
    def is_staff(self) -> bool:
        """Everybody with an account works in the console; roles decide on what."""
        return self.is_active


class Membership(models.Model):
    """What a person is in one organisation."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    organization = models.ForeignKey(Organization, models.CASCADE, related_name="memberships")
    user = models.ForeignKey(User, models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=16, choices=Role, default=Role.VIEWER)
    limited_to_groups = models.BooleanField(
        default=False,
        help_text="Sees and acts on the devices of granted groups only. No grant, no device.",
    )
    created_at = models.DateTimeField(auto_now_add=True)

    objects = TenantQuerySet["Membership"].as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["organization", "user"],
                name="membership_once",
                violation_error_message="This person is a member of the organisation already.",
            ),
            models.CheckConstraint(condition=Q(role__in=Role.values), name="membership_role_known"),
        ]
        verbose_name = "member"
        verbose_name_plural = "people"

    def __str__(self) -> str:
        user = self._state.fields_cache.get("user")  # what is not loaded is not fetched for this
        return f"{self.role} ({user.email if user else self.user_id})"


class ApiKeyQuerySet(TenantQuerySet["ApiKey"]):
    def usable(self, now: datetime) -> Self:
        """Keys that open a door: neither revoked nor expired, of an active organisation."""
        alive = self.filter(Q(expires_at=None) | Q(expires_at__gt=now), revoked_at=None)
        return alive.filter(organization__is_active=True)


class ApiKey(models.Model):
    """A program that acts for an organisation with a role. Only its SHA-256 is kept."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    organization = models.ForeignKey(Organization, models.CASCADE, related_name="api_keys")
    name = models.CharField(max_length=limits.NAME_CHARS)
    role = models.CharField(max_length=16, choices=Role, default=Role.VIEWER)
    prefix = models.CharField(max_length=16)
    sha256 = models.BinaryField(max_length=32, unique=True)
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)

    objects = ApiKeyQuerySet.as_manager()

    class Meta:
        verbose_name = "API key"
        constraints = [
            models.CheckConstraint(condition=Q(role__in=Role.values), name="api_key_role_known"),
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"


class RefreshToken(models.Model):
    """One link of a sign-in's chain of refresh tokens; using a spent one ends the whole chain."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    user = models.ForeignKey(User, models.CASCADE, related_name="refresh_tokens")
    family = models.UUIDField()
    sha256 = models.BinaryField(max_length=32, unique=True)
    expires_at = models.DateTimeField()
    spent_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        indexes = [
            # Ending a chain whose token was used twice.
            models.Index(fields=["family"], name="refresh_token_family"),
        ]

    def __str__(self) -> str:
        return f"refresh token {self.pk}"


class RateBucket(models.Model):
    """A limiter's memory: the moment at which the bucket is empty again (GCRA)."""

    key = models.CharField(primary_key=True, max_length=255)
    full_until = models.DateTimeField()

    def __str__(self) -> str:
        return self.key


class KnownPlace(models.Model):
    """An address a person signed in from: guesses made elsewhere do not lock it out."""

    id = models.BigAutoField(primary_key=True)
    user = models.ForeignKey(User, models.CASCADE, related_name="known_places")
    address = models.CharField(max_length=64)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["user", "address"], name="known_place_once"),
        ]

    def __str__(self) -> str:
        return self.address
