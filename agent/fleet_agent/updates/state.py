"""How far an update is: written down before every effect, read by the next start."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Optional

from fleet_agent.durable import write_atomically

OFFERED = "offered"
DOWNLOADING = "downloading"
VERIFYING = "verifying"
UNPACKING = "unpacking"
VALIDATING = "validating"
HOLDING = "holding"
STOPPING = "stopping"
SWITCHING = "switching"
STARTING = "starting"
CHECKING = "checking"
BACK_STOPPING = "back_stopping"
BACK_SWITCHING = "back_switching"
BACK_STARTING = "back_starting"
BACK_CHECKING = "back_checking"
ENDED = "ended"

# Nothing of what runs has been touched: after a cut these begin anew from the offer.
PREPARING = (OFFERED, DOWNLOADING, VERIFYING, UNPACKING, VALIDATING, HOLDING)
CHANGING = (STOPPING, SWITCHING, STARTING, CHECKING)
GOING_BACK = (BACK_STOPPING, BACK_SWITCHING, BACK_STARTING, BACK_CHECKING)
# Starts of the agent that may find one update unfinished before it is given up: something in it
# ends the agent, or the machine.
MAX_CUTS = 5
log = logging.getLogger(__name__)


@dataclass
class UpdateState:
    """One update. `report` is the end as the portal has to hear it, `is_confirmed` that it has.

    `from_release` and `previous_before` are what `current` and `previous` named before it.
    `cuts` counts how often a start of the agent found it unfinished; `spent_s` is the time it has
    taken in all runs of the agent; `failure` is why it goes back, `was_switched` whether `current`
    named the new release by then.
    """

    update_id: int
    kind: str
    release_id: str
    version: str
    timeout_s: float
    phase: str = OFFERED
    from_release: Optional[str] = None
    from_version: str = ""
    previous_before: Optional[str] = None
    cuts: int = 0
    spent_s: float = 0.0
    timings: dict[str, float] = field(default_factory=dict)
    failure: Optional[dict[str, str]] = None
    was_switched: bool = False
    report: Optional[dict[str, Any]] = None
    is_confirmed: bool = False

    @property
    def is_open(self) -> bool:
        return self.phase != ENDED

    @property
    def is_unreported(self) -> bool:
        return self.phase == ENDED and not self.is_confirmed


class StateFile:
    """update.json: the last update, replaced as a whole and forced to disk at every phase."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.trouble: Optional[str] = None
        self.state = _read(path)

    def write(self, state: UpdateState) -> None:
        """Raises OSError; the file then holds what it held."""
        try:
            write_atomically(self._path, json.dumps(asdict(state)).encode())
        except OSError as error:
            self.trouble = f"update.json cannot be written: {error.strerror}"
            raise
        self.trouble = None
        self.state = state

    def hold(self, state: UpdateState) -> None:
        """Write the state, or keep it in memory alone when the disk takes nothing."""
        try:
            self.write(state)
        except OSError as error:
            log.warning("%s cannot be written: %s", self._path, error)
            self.state = state


def _read(path: Path) -> Optional[UpdateState]:
    try:
        return UpdateState(**json.loads(path.read_bytes()))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError) as error:
        log.warning("%s cannot be read, the update in it is forgotten: %s", path, error)
        return None
