"""Notices that the organisation's signed metadata is held back or forged, before any update comes.

Whoever keeps a device from news keeps offers away as well, so that it would never look.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from typing import Optional

from fleet_agent.pace import jittered
from fleet_agent.updates.trust_errors import UNAVAILABLE, TrustError
from fleet_agent.updates.trust_port import Trust

# The portal's word lives a day: what stands still is noticed within half a day of that.
LOOK_EVERY_S = 12 * 3600.0
# After a refusal, or when nobody answered.
LOOK_AGAIN_S = 3600.0
# After a start; a fleet that was switched on together does not ask together.
FIRST_S = (600.0, 4200.0)
TROUBLE_LENGTH = 500
log = logging.getLogger(__name__)


class TrustWatch:
    """Brings the metadata up to date now and then; `trouble` says what is refused."""

    def __init__(
        self,
        make_trust: Callable[[], Trust],
        *,
        first_s: Optional[float] = None,
        again_s: float = LOOK_AGAIN_S,
    ) -> None:
        self._make_trust = make_trust
        self._again_s = again_s
        wait_s = random.uniform(*FIRST_S) if first_s is None else first_s  # noqa: S311 - spreads load
        self._due = time.monotonic() + wait_s
        self.trouble = ""

    def look(self) -> None:
        """Look, when it is time to."""
        if time.monotonic() < self._due:
            return
        try:
            self._make_trust().refresh()
        except TrustError as error:
            self._due = time.monotonic() + jittered(self._again_s)
            if error.is_temporary or error.code == UNAVAILABLE:
                # It says nothing about what is signed.
                return
            self.trouble = f"signed metadata is refused ({error.code}): {error}"[:TROUBLE_LENGTH]
            log.warning("%s", self.trouble)
        else:
            self._due = time.monotonic() + jittered(LOOK_EVERY_S)
            self.trouble = ""
