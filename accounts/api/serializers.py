from rest_framework import serializers

from accounts.models import SLUG, ApiKey, Membership, Organization
from accounts.policy import Role
from common import limits


class SignInInput(serializers.Serializer):
    """E-mail and password; `totp` where the account has an authenticator app."""

    email = serializers.EmailField(max_length=254)
    password = serializers.CharField(max_length=256, trim_whitespace=False, write_only=True)
    totp = serializers.CharField(max_length=16, required=False, allow_blank=True, write_only=True)


class TokenPairOutput(serializers.Serializer):
    """`access` goes into `Authorization: Bearer`; it lives `expires_in` seconds."""

    access = serializers.CharField()
    refresh = serializers.CharField()
    expires_in = serializers.IntegerField()


class RefreshInput(serializers.Serializer):
    """The refresh token of the last answer; each one works once."""

    refresh = serializers.CharField(max_length=128)


class OrganizationOutput(serializers.ModelSerializer):
    """A tenant and the settings its devices inherit. Intervals are seconds."""

    class Meta:
        model = Organization
        fields = [
            "id",
            "slug",
            "name",
            "is_active",
            "allow_self_enrollment",
            "heartbeat_interval_s",
            "command_poll_interval_s",
            "heartbeat_retention_days",
            "batch_approval_above",
            "bundle_retention_days",
            "bundle_quota_mb",
            "created_at",
        ]
        read_only_fields = ["id", "slug", "is_active", "created_at"]


class OrganizationInput(serializers.ModelSerializer):
    """A tenant to make. The slug stays."""

    class Meta:
        model = Organization
        fields = ["name", "slug"]
        # A slug that is taken is the service's refusal, with a code.
        extra_kwargs = {"slug": {"validators": [SLUG]}}


class MembershipOutput(serializers.ModelSerializer):
    """A person in the current organisation."""

    id = serializers.UUIDField(source="user.pk", read_only=True)
    email = serializers.EmailField(source="user.email", read_only=True)
    name = serializers.CharField(source="user.name", read_only=True)

    class Meta:
        model = Membership
        fields = ["id", "email", "name", "role", "limited_to_groups", "created_at"]
        read_only_fields = ["id", "email", "name", "created_at"]


class MemberInput(serializers.Serializer):
    """A person to add. Without `password` a first one is made up and shown once."""

    email = serializers.EmailField(max_length=254)
    name = serializers.CharField(max_length=limits.NAME_CHARS, required=False, default="")
    role = serializers.ChoiceField(choices=Role.choices)
    limited_to_groups = serializers.BooleanField(default=False)
    password = serializers.CharField(
        max_length=256, required=False, trim_whitespace=False, write_only=True
    )


class MemberCreated(MembershipOutput):
    """The new member; `first_password` is shown this once.

    It signs in a person who had no account; one who has keeps the password they have.
    """

    first_password = serializers.CharField(read_only=True)

    class Meta(MembershipOutput.Meta):
        fields = [*MembershipOutput.Meta.fields, "first_password"]


class ApiKeyOutput(serializers.ModelSerializer):
    """An API key without its secret; `prefix` tells keys apart."""

    class Meta:
        model = ApiKey
        fields = [
            "id",
            "name",
            "role",
            "prefix",
            "created_at",
            "expires_at",
            "revoked_at",
            "last_used_at",
        ]
        read_only_fields = fields


class ApiKeyInput(serializers.Serializer):
    """A key to issue; without `expires_in_s` it lives until revoked."""

    name = serializers.CharField(max_length=limits.NAME_CHARS)
    role = serializers.ChoiceField(choices=Role.choices)
    expires_in_s = serializers.IntegerField(
        min_value=60, max_value=10 * 365 * 86_400, required=False, allow_null=True
    )


class ApiKeyCreated(ApiKeyOutput):
    """The new key; `key` is its secret, shown this once."""

    key = serializers.CharField(read_only=True)

    class Meta(ApiKeyOutput.Meta):
        fields = [*ApiKeyOutput.Meta.fields, "key"]
        read_only_fields = fields


class MeOutput(serializers.Serializer):
    """Who the portal takes the caller for, and where it may act."""

    kind = serializers.ChoiceField(choices=["user", "api_key", "device"])
    label = serializers.CharField()  # type: ignore[assignment]
    email = serializers.EmailField(allow_null=True)
    organization = serializers.CharField(allow_null=True)
    role = serializers.CharField(allow_null=True)
    limited_to_groups = serializers.BooleanField()
    organizations = serializers.ListField(child=serializers.CharField())
