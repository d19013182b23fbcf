"""The organisation's TUF repository: signed metadata, version by version."""

from django.db import models
from django.db.models import Q

from accounts.tenancy import TenantQuerySet
from common import limits
from common.ids import uuid7


class TrustMetadata(models.Model):
    """One signed metadata file, exactly as devices get it. Written once."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    organization = models.ForeignKey("accounts.Organization", models.PROTECT, related_name="+")
    # root, targets, snapshot, timestamp, or a delegated role.
    role = models.CharField(max_length=limits.SHORT_CHARS)
    version = models.PositiveIntegerField()
    content = models.BinaryField()
    expires_at = models.DateTimeField()
    created_at = models.DateTimeField()

    objects = TenantQuerySet["TrustMetadata"].as_manager()

    class Meta:
        verbose_name = "trust metadata"
        verbose_name_plural = "trust metadata"
        constraints = [
            models.UniqueConstraint(
                fields=["organization", "role", "version"], name="trust_metadata_version_once"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.version}.{self.role}"


class TrustDraft(models.Model):
    """Metadata that waits for signatures of offline keys; at most one per role."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    organization = models.ForeignKey("accounts.Organization", models.PROTECT, related_name="+")
    role = models.CharField(max_length=limits.SHORT_CHARS)
    content = models.BinaryField()
    # Of how many signatures there are, and how many it takes.
    signatures = models.PositiveSmallIntegerField(default=0)
    threshold = models.PositiveSmallIntegerField(default=1)
    created_at = models.DateTimeField()
    created_by = models.CharField(max_length=limits.LINE_CHARS, blank=True)

    objects = TenantQuerySet["TrustDraft"].as_manager()

    class Meta:
        verbose_name = "trust draft"
        constraints = [
            models.UniqueConstraint(fields=["organization", "role"], name="trust_draft_once"),
            models.CheckConstraint(condition=Q(threshold__gte=1), name="trust_draft_threshold"),
        ]

    def __str__(self) -> str:
        return self.role


class TrustTarget(models.Model):
    """A target file of the repository: the manifest of a release for a role and a path of trust."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    organization = models.ForeignKey("accounts.Organization", models.PROTECT, related_name="+")
    release = models.ForeignKey("releases.Release", models.CASCADE, related_name="manifests")
    artifact = models.ForeignKey("releases.Artifact", models.CASCADE, related_name="manifests")
    # staged/<role>/<version>/manifest.json, general/<role>/<version>/manifest.json
    path = models.CharField(max_length=limits.LINE_CHARS)
    sha256 = models.CharField(max_length=64)
    content = models.BinaryField()
    created_at = models.DateTimeField()
    # Since when signed metadata lists it, and since when it must not be listed any more.
    signed_at = models.DateTimeField(null=True, blank=True)
    withdrawn_at = models.DateTimeField(null=True, blank=True)

    objects = TenantQuerySet["TrustTarget"].as_manager()

    class Meta:
        verbose_name = "trust target"
        constraints = [
            models.UniqueConstraint(fields=["organization", "path"], name="trust_target_path_once"),
        ]

    def __str__(self) -> str:
        return self.path
