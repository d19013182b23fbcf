from typing import Any

from rest_framework import serializers

from common import limits
from devices.models import Device
from releases.api.plan_serializers import PlanInput, RolloutSelectionInput


class SimulateInput(PlanInput):
    """A plan for a release that need not have been saved."""

    release = serializers.RegexField(limits.VERSION_PATTERN, max_length=limits.SHORT_CHARS)


class RolloutPreviewInput(serializers.Serializer):
    """A release and a selection; without one it is every device of the release's roles."""

    release = serializers.RegexField(limits.VERSION_PATTERN, max_length=limits.SHORT_CHARS)
    selection = RolloutSelectionInput(required=False)


class SimulationQuery(serializers.Serializer):
    """With `segment` the answer has a page of that stage's devices."""

    segment = serializers.ChoiceField(choices=Device.Segment.choices, required=False)
    page = serializers.IntegerField(min_value=1, max_value=limits.PAGE_MAX, default=1)


class RolloutPreviewOutput(serializers.Serializer):
    """How many devices a selection means now, by segment; `devices` are the first by id."""

    count = serializers.IntegerField()
    by_segment = serializers.DictField(child=serializers.IntegerField())
    devices = serializers.ListField(child=serializers.CharField())


class BlockedOutput(serializers.Serializer):
    """Devices that would wait at a gate of their own."""

    gate = serializers.CharField()
    devices = serializers.IntegerField()


class SimulatedStageOutput(serializers.Serializer):
    """A stage: `devices` = `in_percentage` + `later` + `held_back`; `ready` have no closed gate.

    Moments are null where they lie more than a week ahead.
    """

    segment = serializers.CharField()
    percentage = serializers.IntegerField()
    devices = serializers.IntegerField()
    in_percentage = serializers.IntegerField()
    later = serializers.IntegerField()
    held_back = serializers.IntegerField()
    ready = serializers.IntegerField()
    blocked = BlockedOutput(many=True)
    sampled = serializers.IntegerField()
    starts_at = serializers.DateTimeField(allow_null=True)
    soaks_at = serializers.DateTimeField(allow_null=True)
    soak_ends_at = serializers.DateTimeField(allow_null=True)
    finishes_at = serializers.DateTimeField(allow_null=True)


class SiteBytesOutput(serializers.Serializer):
    """What a site would download."""

    site = serializers.CharField(allow_blank=True)
    devices = serializers.IntegerField()
    bytes = serializers.IntegerField()


class OverlapOutput(serializers.Serializer):
    """A rollout of another release that still wants some of the devices."""

    rollout_id = serializers.UUIDField()
    name = serializers.CharField()
    devices = serializers.IntegerField()


class DifferenceOutput(serializers.Serializer):
    """What changed since the devices were frozen; at most 100 of each are named."""

    joined = serializers.IntegerField()
    left = serializers.IntegerField()
    joined_devices = serializers.ListField(child=serializers.CharField())
    left_devices = serializers.ListField(child=serializers.CharField())


class SimulatedDeviceOutput(serializers.Serializer):
    """A device and its place in the order."""

    device_id = serializers.CharField()
    segment = serializers.CharField()
    bucket = serializers.IntegerField()
    site = serializers.CharField(allow_blank=True)


class SimulationOutput(serializers.Serializer):
    """What a plan would do from now on. Counts are exact, moments are estimates.

    `assumptions` says what the estimates rest on; `difference` is null until devices are frozen.
    """

    release = serializers.CharField()
    is_frozen = serializers.BooleanField()
    total = serializers.IntegerField()
    stages: Any = SimulatedStageOutput(many=True)
    bytes = serializers.IntegerField()
    sites = SiteBytesOutput(many=True)
    sites_count = serializers.IntegerField()
    opens_at = serializers.DateTimeField(allow_null=True)
    conflicts = OverlapOutput(many=True)
    difference = DifferenceOutput(allow_null=True)
    devices = SimulatedDeviceOutput(many=True)
    assumptions = serializers.ListField(child=serializers.CharField())
