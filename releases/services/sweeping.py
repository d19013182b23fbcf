"""Who acts when nobody does: the sweeps of releases, named for those who read the log."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Sweep:
    """The portal itself as an actor; `label` says which of its duties it does."""

    label: str
    kind: str = "system"
    actor_id: str = ""


DRIFT = Sweep("drift repair")
RECOVERY = Sweep("recovery")
