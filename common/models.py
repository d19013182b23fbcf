"""The one table of this floor: what was answered to requests that carried a key."""

from django.db import models
from django.db.models import Q


class IdempotencyKey(models.Model):
    """A request that changed something, and the answer it got; kept for `idempotency.KEPT`.

    The key itself is not here, only its SHA-256: the answer is encrypted under it.
    """

    id = models.BigAutoField(primary_key=True)
    # A plain value: this floor knows no organisations. The nil UUID is the installation itself.
    organization_id = models.UUIDField()
    key_sha256 = models.BinaryField(max_length=32)
    # Who asked for what, with which body.
    request_sha256 = models.BinaryField(max_length=32)
    # Empty only inside the transaction that does the work.
    status = models.PositiveSmallIntegerField(null=True)
    answer = models.BinaryField(null=True)
    created_at = models.DateTimeField()

    class Meta:
        verbose_name = "idempotency key"
        constraints = [
            models.UniqueConstraint(
                fields=["organization_id", "key_sha256"], name="idempotency_key_once"
            ),
            models.CheckConstraint(
                condition=Q(status__isnull=True, answer__isnull=True)
                | Q(status__range=(200, 499), answer__isnull=False),
                name="idempotency_answer_whole",
            ),
        ]
        indexes = [
            # Throwing away what is old.
            models.Index(fields=["created_at"], name="idempotency_created"),
        ]

    def __str__(self) -> str:
        return f"idempotency key {self.pk}"
