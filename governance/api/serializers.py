from rest_framework import serializers

from audit.models import AuditEntry


class AuditEntryOutput(serializers.ModelSerializer):
    """One act, and its place in the organisation's chain."""

    before = serializers.DictField(read_only=True, allow_null=True)
    after = serializers.DictField(read_only=True, allow_null=True)

    class Meta:
        model = AuditEntry
        fields = [
            "id",
            "seq",
            "at",
            "organization",
            "actor_type",
            "actor_id",
            "actor",
            "action",
            "target_type",
            "target_id",
            "target",
            "before",
            "after",
            "request_id",
            "previous_hash",
            "hash",
        ]
        read_only_fields = fields
