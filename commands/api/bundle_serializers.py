from rest_framework import serializers

from commands.models import SupportBundle
from common import limits


class BundleOutput(serializers.ModelSerializer):
    """A support bundle; only a ready one can be looked into and downloaded.

    `size` and `sha256` are of what the device sent, `kept_size` of what is kept.
    """

    device_id = serializers.CharField(source="device.device_id", read_only=True)
    command_id = serializers.UUIDField(read_only=True)
    download_url = serializers.SerializerMethodField()

    class Meta:
        model = SupportBundle
        fields = [
            "id",
            "device_id",
            "command_id",
            "status",
            "size",
            "received",
            "sha256",
            "kept_size",
            "error",
            "device_health",
            "created_at",
            "processed_at",
            "expires_at",
            "download_url",
        ]
        read_only_fields = fields

    def get_download_url(self, bundle: SupportBundle) -> str:
        """Return the path that serves the archive to who may read it."""
        return f"/api/v1/bundles/{bundle.pk}/download"


class ManifestEntry(serializers.Serializer):
    """A file of the bundle; `kind` is text or binary, and only text has lines."""

    path = serializers.CharField()
    size = serializers.IntegerField()
    kind = serializers.CharField()
    lines = serializers.IntegerField()


class Redaction(serializers.Serializer):
    """How many secrets a rule took out of a file."""

    rule = serializers.CharField()
    path = serializers.CharField()
    count = serializers.IntegerField()


class FindingOutput(serializers.Serializer):
    """A known trouble: the first line that tells of it, and how many do."""

    rule = serializers.CharField()
    severity = serializers.CharField()
    message = serializers.CharField()
    path = serializers.CharField()
    line = serializers.IntegerField()
    count = serializers.IntegerField()


class BundleDetailOutput(BundleOutput):
    """A bundle with what is in it, what was removed and what was found, the worst first."""

    manifest = ManifestEntry(many=True, read_only=True)
    redactions = Redaction(many=True, read_only=True)
    findings = FindingOutput(many=True, read_only=True)

    class Meta(BundleOutput.Meta):
        fields = [*BundleOutput.Meta.fields, "manifest", "redactions", "findings"]
        read_only_fields = fields


class BundleStateOutput(serializers.Serializer):
    """How far an upload is: go on at byte `received`."""

    id = serializers.UUIDField()
    received = serializers.IntegerField()
    size = serializers.IntegerField()
    status = serializers.ChoiceField(choices=SupportBundle.Status.choices)


class LinesQuery(serializers.Serializer):
    """Which lines of which file, the first one by default; `tail` asks for the last lines."""

    path = serializers.CharField(
        max_length=limits.BUNDLE_NAME_CHARS, trim_whitespace=False, required=False
    )
    offset = serializers.IntegerField(min_value=0, max_value=limits.INT_MAX, default=0)
    limit = serializers.IntegerField(
        min_value=1, max_value=limits.BUNDLE_PAGE_LINES_MAX, default=limits.BUNDLE_PAGE_LINES
    )
    tail = serializers.IntegerField(
        min_value=1, max_value=limits.BUNDLE_PAGE_LINES_MAX, required=False
    )


class LineOutput(serializers.Serializer):
    """A line and its number, counted from 1."""

    number = serializers.IntegerField()
    text = serializers.CharField()


class LinesOutput(serializers.Serializer):
    """Lines of a file; `next_offset` is null at its end."""

    path = serializers.CharField()
    total = serializers.IntegerField()
    offset = serializers.IntegerField()
    lines = LineOutput(many=True)
    next_offset = serializers.IntegerField(allow_null=True)


class SearchQuery(serializers.Serializer):
    """A plain text to find, in any case; in one file when `path` is given. No text, no match."""

    q = serializers.CharField(
        max_length=200, trim_whitespace=False, required=False, default="", allow_blank=True
    )
    path = serializers.CharField(
        max_length=limits.BUNDLE_NAME_CHARS,
        trim_whitespace=False,
        required=False,
        default="",
        allow_blank=True,
    )
    context = serializers.IntegerField(  # type: ignore[assignment]
        min_value=0, max_value=10, default=2
    )


class MatchOutput(serializers.Serializer):
    """A line that holds the text, and the lines around it."""

    path = serializers.CharField()
    line = serializers.IntegerField()
    text = serializers.CharField()
    before = serializers.ListField(child=serializers.CharField())
    after = serializers.ListField(child=serializers.CharField())


class SearchOutput(serializers.Serializer):
    """Matches in the order of the archive; `is_cut` when there were more than are returned."""

    matches = MatchOutput(many=True)
    is_cut = serializers.BooleanField()


class Onlys(serializers.Serializer):
    """Paths only one side has."""

    only_here = serializers.ListField(child=serializers.CharField())
    only_there = serializers.ListField(child=serializers.CharField())


class FindingOnlys(serializers.Serializer):
    """Findings only one side has."""

    only_here = FindingOutput(many=True)
    only_there = FindingOutput(many=True)


class Difference(serializers.Serializer):
    """A unit's state or a package's version; null where it is absent."""

    name = serializers.CharField()
    here = serializers.CharField(allow_null=True)
    there = serializers.ListField(child=serializers.CharField())


class CompareOutput(serializers.Serializer):
    """What differs between the bundle and those it is held against."""

    compared_with = BundleOutput(many=True)
    findings = FindingOnlys()
    files = Onlys()
    units = Difference(many=True)
    packages = Difference(many=True)
