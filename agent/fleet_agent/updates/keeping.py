"""Keeping the application running: after a start of the machine, in safe mode and out of it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Optional

from fleet_agent.updates.deployment import Deployment
from fleet_agent.updates.errors import UpdateFailedError
from fleet_agent.updates.hooks import Application, Limits
from fleet_agent.updates.safe_mode import AGENT

# Failed starts in a row after which the device goes into safe mode by itself.
MAX_FAILED_STARTS = 3
LEFT_S = 3600.0
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Keeping:
    """Starts and stops what `current` names. Whoever calls holds the deployment's lock."""

    deployment: Deployment
    boot_id: str
    limits: Limits
    check: Callable[[], None]
    pause: Callable[[float], object]

    def is_settled(self) -> bool:
        """See to it once that what should run runs; False when it is to be tried again.

        After MAX_FAILED_STARTS failures it goes into safe mode.
        """
        application = self.application()
        if application is None:
            return True
        if self.deployment.safe_mode.is_on and not self.deployment.is_leaving:
            # A cut may have come between the mode and the stop.
            if application.has_health_check() and application.is_healthy():
                self._quietly(application.stop)
            self._quietly(application.start_safe_mode)
            return True
        starts = self.deployment.starts
        if not application.version and starts.failed + 1 < MAX_FAILED_STARTS:
            # A disk that refuses once may tell the next time what this is; hooks ask for it.
            starts.has_failed()
            return False
        if self._runs(application) or self._started(application):
            starts.worked(self.boot_id)
            return True
        starts.has_failed()
        if starts.failed < MAX_FAILED_STARTS:
            return False
        self.enter(
            reason=f"The application failed to start {starts.failed} times in a row.", source=AGENT
        )
        return True

    def enter(self, *, reason: str, source: str) -> list[str]:
        """Go into safe mode: the mode first, then what runs; return what went wrong.

        Raises OSError when the mode cannot be written down.
        """
        log.warning("Safe mode: %s", reason)
        self.deployment.enter_safe_mode(reason=reason, source=source)
        application = self.application()
        if application is None:
            return []
        return self._quietly(application.stop) + self._quietly(application.start_safe_mode)

    def leave(self, *, reason: str) -> list[str]:
        """Leave safe mode and start the application again; return what went wrong. OSError.

        After a redeploy it runs already and is left alone.
        """
        was_leaving = self.deployment.is_leaving
        self.deployment.safe_mode.leave(reason=reason)
        application = self.application()
        if application is None or was_leaving:
            return []
        troubles = self._quietly(application.stop)
        self.deployment.starts.worked("")
        if not self._started(application):
            troubles.append("The application does not become healthy.")
        return troubles

    def application(self) -> Optional[Application]:
        """Return what runs by the name `current`; None without a release."""
        releases = self.deployment.releases
        release_id = releases.current()
        if release_id is None:
            return None
        running = self.deployment.running()
        return Application(
            folder=releases.folder(release_id),
            release_id=release_id,
            version=running.version if running else "",
            limits=self.limits,
            check=self.check,
            pause=self.pause,
        )

    def _runs(self, application: Application) -> bool:
        if application.has_health_check():
            return application.is_healthy()
        # Nothing tells; what was started since the machine came up is taken to run.
        return self.deployment.starts.boot_id == self.boot_id

    def _started(self, application: Application) -> bool:
        try:
            application.start()
            application.wait_until_healthy(left_s=LEFT_S)
        except UpdateFailedError as failure:
            log.warning("The application did not start: %s", failure)
            return False
        return True

    def _quietly(self, step: Callable[[], object]) -> list[str]:
        try:
            step()
        except UpdateFailedError as failure:
            log.warning("%s", failure)
            return [str(failure)]
        return []
