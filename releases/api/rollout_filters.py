from django.db.models import QuerySet
from django_filters import rest_framework as filters

from devices.models import Device
from releases.models import Rollout, RolloutEvent, RolloutTarget
from releases.selectors.progress import STATES, state_of_target


class RolloutFilter(filters.FilterSet):
    """Narrow a list of rollouts; `release` is a version."""

    status = filters.MultipleChoiceFilter(choices=Rollout.Status.choices)
    release = filters.CharFilter(field_name="release__version", max_length=64)

    class Meta:
        model = Rollout
        fields: list[str] = []


class RolloutTargetFilter(filters.FilterSet):
    """Narrow the devices of a rollout."""

    segment = filters.MultipleChoiceFilter(choices=Device.Segment.choices)
    state = filters.MultipleChoiceFilter(
        choices=[(one, one.replace("_", " ")) for one in STATES], method="being"
    )

    class Meta:
        model = RolloutTarget
        fields: list[str] = []

    def being(
        self, targets: QuerySet[RolloutTarget], _name: str, wanted: list[str]
    ) -> QuerySet[RolloutTarget]:
        """Return targets in one of the states."""
        stated = targets.annotate(state=state_of_target())
        return stated.filter(state__in=wanted) if wanted else targets


class RolloutEventFilter(filters.FilterSet):
    """Narrow the story of a rollout."""

    kind = filters.CharFilter(max_length=32)

    class Meta:
        model = RolloutEvent
        fields: list[str] = []
