"""Whether a device gets a release now, and if not, what it waits for."""

from dataclasses import dataclass
from datetime import datetime

from devices.models import Device
from releases.models import Release, Rollout
from releases.services.gates import Gate, gates_of


@dataclass(frozen=True)
class Eligibility:
    """The gates in order; a device is eligible when all have passed."""

    gates: list[Gate]
    target_version: str | None

    @property
    def eligible(self) -> bool:
        """Whether every gate has passed."""
        return all(gate.passed for gate in self.gates)


def eligibility_of(*, device: Device, release: Release, now: datetime) -> Eligibility:
    """Ask every gate for a device and a release, in the rollout that decides between them."""
    gates = gates_of(device=device, release=release, rollout=rollout_of(release), now=now)
    return Eligibility(gates, device.target_version or None)


def rollout_of(release: Release) -> Rollout | None:
    """Return the rollout of a release that has not ended, or else its last one."""
    # A release has at most one that has not ended, and none is made beside it: it is the last.
    return Rollout.objects.filter(release=release).order_by("-pk").first()
