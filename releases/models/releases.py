"""What can run on devices: a release, and the bundle of files each role gets of it."""

from typing import TYPE_CHECKING, Self

from django.contrib.postgres.fields import ArrayField
from django.core.validators import RegexValidator
from django.db import models
from django.db.models import Q

from accounts.tenancy import TenantQuerySet
from common import limits
from common.ids import uuid7
from releases.storages import artifact_storage

if TYPE_CHECKING:
    from accounts.principals import Principal

CHANGEABLE = ["draft", "validated"]
ISSUED = ["published", "withdrawn"]
# How a bundle for every role is named where a role is expected.
ANY_ROLE = "any"


class ReleaseQuerySet(TenantQuerySet["Release"]):
    def visible_to(self, principal: "Principal") -> Self:  # type: ignore[override]
        """Releases of the organisation; a device sees what was published."""
        releases = super().visible_to(principal)
        return releases.filter(state__in=ISSUED) if principal.kind == "device" else releases

    def published(self) -> Self:
        return self.filter(state=Release.State.PUBLISHED)

    def for_role(self, role: str) -> Self:
        """Releases a device of the role may run: those of the role, and those of every role."""
        return self.filter(Q(roles=[]) | Q(roles__contains=[role]))


class Release(models.Model):
    """A version of the software at one commit. It never changes once it is published.

    draft -> validated -> published -> withdrawn; a validated one that is changed is a draft again.
    """

    class State(models.TextChoices):
        DRAFT = "draft"
        VALIDATED = "validated"
        PUBLISHED = "published"
        WITHDRAWN = "withdrawn"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    organization = models.ForeignKey("accounts.Organization", models.PROTECT, related_name="+")
    version = models.CharField(
        max_length=limits.SHORT_CHARS, validators=[RegexValidator(limits.VERSION_PATTERN)]
    )
    commit = models.CharField(
        max_length=64,
        validators=[RegexValidator(limits.COMMIT_PATTERN)],
        help_text="The git commit it was built from: 7 to 64 hex digits.",
    )
    # Empty: for every role.
    roles = ArrayField(models.CharField(max_length=limits.SHORT_CHARS), default=list, blank=True)
    channel = models.CharField(
        max_length=limits.SHORT_CHARS,
        default="stable",
        validators=[RegexValidator(limits.CHANNEL_PATTERN)],
    )
    changelog = models.TextField(max_length=limits.CHANGELOG_CHARS, blank=True)
    required_migration = models.CharField(max_length=limits.LINE_CHARS, blank=True)
    feature_flags = models.JSONField(default=dict, blank=True)
    state = models.CharField(max_length=16, choices=State, default=State.DRAFT)
    # Counts what the organisation published; a device refuses to be talked down by accident.
    counter = models.BigIntegerField(null=True, blank=True, editable=False)
    # [{"severity", "rule", "path", "message"}] of the last validation.
    findings = models.JSONField(default=list, blank=True)
    validated_at = models.DateTimeField(null=True, blank=True)
    published_at = models.DateTimeField(null=True, blank=True)
    published_by = models.CharField(max_length=limits.LINE_CHARS, blank=True)
    withdrawn_at = models.DateTimeField(null=True, blank=True)
    withdrawn_by = models.CharField(max_length=limits.LINE_CHARS, blank=True)
    withdrawn_reason = models.CharField(max_length=limits.LINE_CHARS, blank=True)
    creator_id = models.UUIDField(null=True, editable=False)
    created_by = models.CharField(max_length=limits.LINE_CHARS, blank=True)
    created_at = models.DateTimeField()

    objects = ReleaseQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["organization", "version"],
                name="release_version_unique",
                violation_error_message="A release with this version exists already.",
            ),
            models.UniqueConstraint(
                fields=["organization", "counter"], name="release_counter_unique"
            ),
            models.CheckConstraint(
                condition=Q(state__in=CHANGEABLE, published_at__isnull=True, counter__isnull=True)
                | Q(state__in=ISSUED, published_at__isnull=False, counter__isnull=False),
                name="release_published_is_counted",
            ),
            models.CheckConstraint(
                condition=~Q(state="withdrawn") | Q(withdrawn_at__isnull=False),
                name="release_withdrawn_has_time",
            ),
        ]
        indexes = [
            # The list of an organisation, newest first, and GET releases/latest.
            models.Index(fields=["organization", "state", "-id"], name="release_recent"),
        ]

    def __str__(self) -> str:
        return self.version

    @property
    def is_changeable(self) -> bool:
        return self.state in CHANGEABLE


class ArtifactQuerySet(TenantQuerySet["Artifact"]):
    def visible_to(self, principal: "Principal") -> Self:  # type: ignore[override]
        """Bundles of visible releases."""
        artifacts = super().visible_to(principal)
        return artifacts.filter(release__in=Release.objects.visible_to(principal))

    def stored(self) -> Self:
        """Bundles that are whole and have not been cleaned away."""
        return self.filter(status=Artifact.Status.STORED)


class Artifact(models.Model):
    """The bundle (tar.gz) a role gets of a release; one for every role has an empty `role`."""

    class Status(models.TextChoices):
        UPLOADING = "uploading"
        STORED = "stored"
        REMOVED = "removed"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    organization = models.ForeignKey("accounts.Organization", models.PROTECT, related_name="+")
    release = models.ForeignKey(Release, models.CASCADE, related_name="artifacts")
    role = models.CharField(max_length=limits.SHORT_CHARS, blank=True)
    status = models.CharField(max_length=16, choices=Status, default=Status.UPLOADING)
    # Bytes of the whole, and SHA-256 of it in hex, as its sender named them and they were checked.
    size = models.BigIntegerField()
    sha256 = models.CharField(max_length=64)
    # Bytes of an upload that goes on.
    received = models.BigIntegerField(default=0)
    # While it is uploaded: a path below MEDIA_ROOT on this machine. Once stored: in the storage.
    staged = models.CharField(max_length=limits.LINE_CHARS, blank=True)
    file = models.FileField(storage=artifact_storage, max_length=limits.LINE_CHARS, blank=True)
    # [{"path", "sha256", "size", "mode"}], read by the validation of the release.
    files = models.JSONField(default=list, blank=True)
    compose_path = models.CharField(max_length=limits.LINE_CHARS, blank=True)
    compose_sha256 = models.CharField(max_length=64, blank=True)
    created_at = models.DateTimeField()
    removed_at = models.DateTimeField(null=True, blank=True)

    objects = ArtifactQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["release", "role"],
                name="artifact_role_once",
                violation_error_message="The release has a bundle for this role already.",
            ),
            models.CheckConstraint(
                condition=Q(status="removed", removed_at__isnull=False)
                | Q(status__in=["uploading", "stored"], removed_at__isnull=True),
                name="artifact_status_known",
            ),
        ]

    def __str__(self) -> str:
        return f"bundle for {self.role or 'every role'}"

    @property
    def role_name(self) -> str:
        """The role as paths name it."""
        return self.role or ANY_ROLE
