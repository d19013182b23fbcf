"""What the threads of an agent share about the releases on this device."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Optional

from fleet_agent.settings import ConfigStore
from fleet_agent.updates.manifest import Manifest
from fleet_agent.updates.offer import REDEPLOY
from fleet_agent.updates.release_store import PREVIOUS, ReleaseStore
from fleet_agent.updates.safe_mode import SafeMode, Starts
from fleet_agent.updates.state import StateFile, UpdateState


@dataclass
class Wish:
    """A command that waits for an update; `ended` is how it went, None when none was offered."""

    version: str
    is_done: threading.Event = field(default_factory=threading.Event)
    ended: Optional[UpdateState] = None
    refusal: str = ""


class Deployment:
    """`lock` is held by whoever starts, stops or changes the application."""

    def __init__(self, store: ConfigStore) -> None:
        self._store = store
        self.lock = threading.RLock()
        self.states = StateFile(store.state_dir / "update.json")
        self.safe_mode = SafeMode(store.state_dir / "safe_mode.json")
        self.starts = Starts(store.state_dir / "starts.json")
        # Set by the loops: look for an update, for drift, now.
        self.on_wish: Callable[[], None] = lambda: None
        self.on_drift: Callable[[], None] = lambda: None
        self._wishes: list[Wish] = []
        self._known: dict[tuple[str, str, int], Manifest] = {}

    @property
    def releases(self) -> ReleaseStore:
        """Where releases are by the settings of the moment."""
        return ReleaseStore(self._store.releases_dir)

    @property
    def is_leaving(self) -> bool:
        """True in safe mode when a redeploy has ended it here: the application runs, and the mode
        holds until the portal has seen the proof.

        It follows from what is written down already, so that no power cut comes in between.
        """
        state, mode = self.states.state, self.safe_mode
        if not mode.is_on or state is None or state.kind != REDEPLOY:
            return False
        has_worked = (state.report or {}).get("status") == "claimed"
        return has_worked and state.update_id != mode.after_update

    def enter_safe_mode(self, *, reason: str, source: str) -> None:
        """Write the mode down. Raises OSError; it holds until the agent's next start then."""
        state = self.states.state
        last = state.update_id if state else None
        self.safe_mode.enter(reason=reason, source=source, after_update=last)

    def running(self) -> Optional[Manifest]:
        """Return the release that `current` names; None when there is none."""
        return self._facts(self.releases.current())

    def _facts(self, release_id: Optional[str]) -> Optional[Manifest]:
        # Heartbeats ask for it, and a release may have thousands of files.
        if release_id is None:
            return None
        releases = self.releases
        try:
            found = releases.facts_path(release_id).stat()
        except OSError:
            return None
        key = (str(releases.root), release_id, found.st_mtime_ns)
        if key not in self._known:
            facts = releases.facts(release_id)
            if facts is None:
                # A disk that refuses once may read the next time.
                return None
            self._known = dict([*self._known.items(), (key, facts)][-2:])
        return self._known[key]

    def wish(self, version: str) -> Wish:
        """Have the update loop ask the portal now."""
        wish = Wish(version)
        self._wishes.append(wish)
        self.on_wish()
        return wish

    def take_wishes(self) -> list[Wish]:
        wishes, self._wishes = self._wishes, []
        return wishes

    def shown(self) -> dict[str, Any]:
        """Return what `fleet-agent status` and the heartbeats tell."""
        releases, state = self.releases, self.states.state
        running = self.running()
        previous = self._facts(releases.named(PREVIOUS))
        return {
            "release_id": running.release_id if running else None,
            "version": running.version if running else None,
            "commit": running.commit if running else None,
            "previous_version": previous.version if previous else None,
            "update_id": state.update_id if state else None,
            "update_version": state.version if state else None,
            "update_phase": state.phase if state else None,
            "update_status": (state.report or {}).get("status") if state else None,
            "update_unreported": bool(state and state.is_unreported),
            "update_error": (state.report or {}).get("error") if state else None,
            "safe_mode": self.safe_mode.is_on,
            "leaving_safe_mode": self.is_leaving,
            "safe_mode_reason": self.safe_mode.reason if self.safe_mode.is_on else None,
            "failed_starts": self.starts.failed,
        }
