"""Who did what. Plain ids and text, no foreign keys: the log outlives what it names."""

from datetime import datetime
from typing import Protocol
from uuid import UUID

from django.db import models

from common.ids import NIL_UUID, uuid7


class Reader(Protocol):
    """Whoever reads the log: one organisation's people, or the installation's owner."""

    @property
    def sees_all(self) -> bool: ...
    @property
    def organization_id(self) -> UUID | None: ...


class AuditQuerySet(models.QuerySet["AuditEntry"]):
    def visible_to(self, principal: Reader) -> "AuditQuerySet":
        """Entries of the organisation the principal acts in; no rows when in doubt."""
        if principal.sees_all:
            return self.all()
        if principal.organization_id is None:
            return self.none()
        return self.filter(organization_id=principal.organization_id)

    def about(self, target_type: str, target_id: object) -> "AuditQuerySet":
        return self.filter(target_type=target_type, target_id=str(target_id))

    def since(self, moment: datetime) -> "AuditQuerySet":
        return self.filter(at__gte=moment)


class AuditEntry(models.Model):
    """One act. Written once; the database numbers, dates and chains it, and refuses any change."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    # The nil UUID stands for the installation itself: acts that belong to no organisation.
    organization_id = models.UUIDField(default=NIL_UUID)
    organization = models.CharField(max_length=63, blank=True)
    seq = models.BigIntegerField(default=0)
    at = models.DateTimeField(null=True)
    actor_type = models.CharField(max_length=16)
    actor_id = models.CharField(max_length=64, blank=True)
    actor = models.CharField(max_length=255, blank=True)
    action = models.CharField(max_length=64)
    target_type = models.CharField(max_length=64, blank=True)
    target_id = models.CharField(max_length=64, blank=True)
    target = models.CharField(max_length=255, blank=True)
    before = models.JSONField(null=True, blank=True)
    after = models.JSONField(null=True, blank=True)
    request_id = models.CharField(max_length=64, blank=True)
    previous_hash = models.CharField(max_length=64, blank=True)
    hash = models.CharField(max_length=64, blank=True)

    objects = AuditQuerySet.as_manager()

    class Meta:
        verbose_name = "audit entry"
        verbose_name_plural = "audit entries"
        constraints = [
            models.UniqueConstraint(fields=["organization_id", "seq"], name="audit_entry_seq"),
        ]
        indexes = [
            # The explorer and the export: one organisation, newest first.
            models.Index(fields=["organization_id", "-at"], name="audit_entry_recent"),
            # The audit tab of a device, a command, a user.
            models.Index(fields=["target_type", "target_id", "-at"], name="audit_entry_target"),
        ]

    def __str__(self) -> str:
        return f"{self.action} {self.target}"


class AuditHead(models.Model):
    """The end of one organisation's chain; locked while an entry is added."""

    organization_id = models.UUIDField(primary_key=True)
    seq = models.BigIntegerField(default=0)
    hash = models.CharField(max_length=64)

    class Meta:
        verbose_name = "audit head"

    def __str__(self) -> str:
        return f"{self.organization_id} #{self.seq}"
