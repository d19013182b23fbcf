from rest_framework import serializers


class GateOutput(serializers.Serializer):
    """One condition. `changes_at` is the earliest moment it can change by itself, where known."""

    gate = serializers.CharField()
    passed = serializers.BooleanField()
    seen = serializers.CharField()
    wanted = serializers.CharField()
    changes_at = serializers.DateTimeField(allow_null=True)


class EligibilityOutput(serializers.Serializer):
    """Whether a device gets a release now: every gate, in the order in which they are asked.

    `target_version` is what the device is to run at the moment.
    """

    eligible = serializers.BooleanField()
    gates = GateOutput(many=True)
    target_version = serializers.CharField(allow_null=True)
