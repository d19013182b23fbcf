"""Bundles on the wire."""

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from common import limits
from releases.models import Artifact
from releases.services.artifact_retention import REASONS, Judged


class LinkQuery(serializers.Serializer):
    """What a signed link carries; all three or none."""

    expires = serializers.IntegerField(
        min_value=0, max_value=limits.BIGINT_MAX, help_text="Unix seconds."
    )
    key = serializers.CharField(max_length=64)
    signature = serializers.CharField(max_length=128)


class ArtifactOutput(serializers.ModelSerializer):
    """The bundle a role gets; `role` is `any` for one that is for every role."""

    role = serializers.CharField(source="role_name", read_only=True)
    bundle_url = serializers.SerializerMethodField()

    class Meta:
        model = Artifact
        fields = [
            "id",
            "role",
            "status",
            "size",
            "received",
            "sha256",
            "compose_path",
            "compose_sha256",
            "created_at",
            "removed_at",
            "bundle_url",
        ]
        read_only_fields = fields

    def get_bundle_url(self, artifact: Artifact) -> str:
        """Return the path that serves the bundle to who may read it."""
        return f"/api/v1/artifacts/{artifact.role_name}/{artifact.release.version}/bundle"


class UploadStateOutput(serializers.Serializer):
    """How far an upload is: go on at byte `received`."""

    id = serializers.UUIDField()
    received = serializers.IntegerField()
    size = serializers.IntegerField()
    sha256 = serializers.CharField()
    status = serializers.ChoiceField(choices=Artifact.Status.choices)


class FileEntry(serializers.Serializer):
    """A file of a bundle; `mode` is its permissions in octal."""

    path = serializers.CharField()
    sha256 = serializers.CharField()
    size = serializers.IntegerField()
    mode = serializers.CharField()


class ComposeOutput(serializers.Serializer):
    """The compose file of a bundle."""

    path = serializers.CharField()
    sha256 = serializers.CharField()


class BundleFacts(serializers.Serializer):
    size = serializers.IntegerField()
    sha256 = serializers.CharField()


class ChecksumsOutput(serializers.Serializer):
    """The checksums of a bundle and of every file in it, for comparing with what lies there."""

    version = serializers.CharField(source="release.version")
    commit = serializers.CharField(source="release.commit")
    role = serializers.CharField(source="role_name")
    bundle = BundleFacts(source="*")
    files = FileEntry(many=True)


class ReleaseFinding(serializers.Serializer):
    """What a static check found; only an error keeps a release from being published."""

    severity = serializers.ChoiceField(choices=["error", "warning", "info"])
    rule = serializers.CharField()
    path = serializers.CharField(allow_blank=True)
    message = serializers.CharField()


class ValidationOutput(serializers.Serializer):
    """What the static checks say of a bundle."""

    valid = serializers.BooleanField()
    findings = ReleaseFinding(many=True)
    files = FileEntry(many=True)
    compose = ComposeOutput(allow_null=True)


class RetentionReason(serializers.Serializer):
    """Why a bundle stays: a code for programs, a sentence for people."""

    reason = serializers.CharField()
    detail = serializers.CharField()


class RetentionOutput(serializers.Serializer):
    """A stored bundle: whether the next clean-up removes it, and why not."""

    id = serializers.UUIDField(source="artifact.id")
    version = serializers.CharField(source="artifact.release.version")
    role = serializers.CharField(source="artifact.role_name")
    size = serializers.IntegerField(source="artifact.size")
    created_at = serializers.DateTimeField(source="artifact.created_at")
    goes = serializers.SerializerMethodField()
    kept_by = serializers.SerializerMethodField()

    def get_goes(self, judged: Judged) -> bool:
        """Say whether nothing keeps it."""
        return not judged.reasons

    @extend_schema_field(RetentionReason(many=True))
    def get_kept_by(self, judged: Judged) -> list[dict[str, str]]:
        """Return the reasons that keep it."""
        return [{"reason": one, "detail": REASONS[one]} for one in judged.reasons]


class RetentionListOutput(serializers.Serializer):
    """What the next clean-up would remove, and what it leaves."""

    bytes_freed = serializers.IntegerField()
    results = RetentionOutput(many=True)
