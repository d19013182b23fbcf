"""Releases on the wire."""

import json
from typing import Any

from rest_framework import serializers

from common import limits
from releases.api.artifact_serializers import ArtifactOutput, ReleaseFinding
from releases.models import Release

_SCALARS = (str, int, float, bool, type(None))


class FlagsField(serializers.JSONField):
    """Feature flags: names with plain values, or the same as JSON text in a form."""

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        """Return the flags, or refuse what is no flat object."""
        flags = _parsed(data) if isinstance(data, str) else data
        if not isinstance(flags, dict) or len(flags) > limits.RELEASE_FLAGS:
            raise serializers.ValidationError(
                f"Send an object of at most {limits.RELEASE_FLAGS} names."
            )
        for name, value in flags.items():
            fits = len(str(name)) <= limits.SHORT_CHARS and isinstance(value, _SCALARS)
            if not fits or len(str(value)) > limits.LINE_CHARS:
                raise serializers.ValidationError(
                    f"“{str(name)[:64]}”: names have at most {limits.SHORT_CHARS} characters, "
                    f"values are plain and have at most {limits.LINE_CHARS}."
                )
        return flags


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise serializers.ValidationError("This is no JSON.") from None


class ReleaseChangeInput(serializers.Serializer):
    """What can be changed until a release is published."""

    roles = serializers.ListField(
        child=serializers.RegexField(limits.RELEASE_ROLE_PATTERN),
        max_length=limits.RELEASE_ROLES,
        required=False,
        help_text="Roles of devices it is for; none: every role.",
    )
    channel = serializers.RegexField(limits.CHANNEL_PATTERN, required=False)
    changelog = serializers.CharField(
        max_length=limits.CHANGELOG_CHARS, required=False, allow_blank=True
    )
    required_migration = serializers.CharField(
        max_length=limits.LINE_CHARS, required=False, allow_blank=True
    )
    feature_flags = FlagsField(required=False)

    def validate_roles(self, roles: list[str]) -> list[str]:
        """Keep each role once, in order."""
        return list(dict.fromkeys(roles))


class ReleaseInput(ReleaseChangeInput):
    """A new release: a version, and the git commit it was built from."""

    version = serializers.RegexField(limits.VERSION_PATTERN)
    commit = serializers.RegexField(limits.COMMIT_PATTERN)


class ReleaseUploadInput(ReleaseInput):
    """A new release and a bundle of it at once, as a form."""

    file = serializers.FileField(help_text="The bundle, a tar.gz.")
    role = serializers.RegexField(
        limits.RELEASE_ROLE_PATTERN,
        required=False,
        default="any",
        help_text="Whom the bundle is for; `any` for every role.",
    )
    sha256 = serializers.RegexField(r"^[0-9a-fA-F]{64}$", required=False, default="")


class ReleaseOutput(serializers.ModelSerializer):
    """A release as lists show it."""

    artifacts = ArtifactOutput(many=True, read_only=True)

    class Meta:
        model = Release
        fields = [
            "id",
            "version",
            "commit",
            "roles",
            "channel",
            "changelog",
            "required_migration",
            "feature_flags",
            "state",
            "counter",
            "validated_at",
            "published_at",
            "published_by",
            "withdrawn_at",
            "withdrawn_by",
            "withdrawn_reason",
            "created_at",
            "created_by",
            "artifacts",
        ]
        read_only_fields = fields


class ReleaseDetailOutput(ReleaseOutput):
    """A release with what its last validation found."""

    findings = ReleaseFinding(many=True, read_only=True)

    class Meta(ReleaseOutput.Meta):
        fields = [*ReleaseOutput.Meta.fields, "findings"]
        read_only_fields = fields


class ReleaseReasonInput(serializers.Serializer):
    """Why; for the audit log and for whoever looks at it later."""

    reason = serializers.CharField(max_length=limits.LINE_CHARS)


class LatestQuery(serializers.Serializer):
    """Whose newest release; without a role of those for every role too."""

    role = serializers.CharField(max_length=limits.SHORT_CHARS, required=False, default="")
    channel = serializers.CharField(max_length=limits.SHORT_CHARS, required=False, default="stable")
