"""Shapes of keys, drafts and signatures."""

from rest_framework import serializers

from common import limits

KEY_ID = r"^[0-9a-f]{64}$"
# Ed25519: 64 bytes in hex.
SIGNATURE = r"^[0-9a-f]{128}$"


class KeyOutput(serializers.Serializer[object]):
    id = serializers.CharField()
    holder = serializers.CharField()
    is_portals = serializers.BooleanField(help_text="The portal has it: it signs by itself.")


class RoleOutput(serializers.Serializer[object]):
    role = serializers.CharField()
    version = serializers.IntegerField()
    expires_at = serializers.DateTimeField()
    threshold = serializers.IntegerField(help_text="How many of the keys have to sign.")
    keys = KeyOutput(many=True)
    is_expired = serializers.BooleanField()
    nears_expiry = serializers.BooleanField()


class DraftOutput(serializers.Serializer[object]):
    role = serializers.CharField()
    version = serializers.IntegerField()
    signatures = serializers.IntegerField()
    missing = serializers.IntegerField(help_text="How many signatures it still takes.")
    unsigned = KeyOutput(many=True, help_text="Whose signatures it can be.")
    created_at = serializers.DateTimeField()
    created_by = serializers.CharField()


class TrustStatusOutput(serializers.Serializer[object]):
    """How the keys of the organisation stand."""

    mode = serializers.CharField(
        help_text="`none`: nothing was published; `ceremony`: one has begun; `online`: the"
        " portal's key signs everything; `offline`: general needs keys the portal does not have."
    )
    roles = RoleOutput(many=True)
    drafts = DraftOutput(many=True)
    warnings = serializers.ListField(child=serializers.CharField())


class SignatureInput(serializers.Serializer[object]):
    keyid = serializers.RegexField(KEY_ID)
    sig = serializers.RegexField(SIGNATURE)


class SignaturesInput(serializers.Serializer[object]):
    """The `signatures` of a file that `keys sign` has signed."""

    signatures = serializers.ListField(
        child=SignatureInput(), allow_empty=False, max_length=limits.TRUST_SIGNATURES
    )


class ImportedOutput(serializers.Serializer[object]):
    role = serializers.CharField()
    signatures = serializers.IntegerField()
    missing = serializers.IntegerField()
    published = serializers.ListField(
        child=serializers.CharField(), help_text="Roles that went into force with this."
    )
