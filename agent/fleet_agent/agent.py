"""The running agent: threads at work, and the main thread that watches over them."""

from __future__ import annotations

import fcntl
import logging
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import NoReturn, Optional
from urllib.parse import urlsplit

from fleet_agent import __version__, logs
from fleet_agent.command_loop import CommandLoop
from fleet_agent.commands.base import Context
from fleet_agent.commands.bundle import remove_other_bundles
from fleet_agent.contact import ContactRecord
from fleet_agent.errors import AgentError, ConfigError
from fleet_agent.executor import Executor
from fleet_agent.heartbeat import HeartbeatSource
from fleet_agent.journal import ACCEPTED, STARTED, WAITING, Journal
from fleet_agent.loops import HeartbeatLoop, Loop
from fleet_agent.offline_queue import OfflineQueue
from fleet_agent.portal import PortalClient
from fleet_agent.rotation import resume_rotation
from fleet_agent.script_job import job_name, remove_other_jobs
from fleet_agent.sequence import SequenceCounter, boot_id, seconds_since_boot
from fleet_agent.settings import ConfigStore
from fleet_agent.stream_loop import StreamLoop
from fleet_agent.updates.deployment import Deployment
from fleet_agent.updates.drift_loop import DriftLoop
from fleet_agent.updates.hooks import Limits
from fleet_agent.updates.loop import TrustMaker, UpdateLoop

WATCH_S = 0.5
STOP_PATIENCE_S = 1.0
log = logging.getLogger(__name__)


class Agent:
    """Everything a running agent holds. `run` returns when a signal asks it to end."""

    def __init__(
        self,
        *,
        store: ConfigStore,
        recent: logs.RecentLines,
        make_trust: TrustMaker,
        limits: Limits,
    ) -> None:
        self._store = store
        self._stopping = threading.Event()
        self._taken_up = store.settings
        state_dir = store.state_dir
        boot = boot_id()
        self._journal = Journal(state_dir / "journal.jsonl")
        self._sequence = SequenceCounter(state_dir / "sequence.json", boot=boot)
        self._queue = OfflineQueue(
            state_dir / "queue", max_bytes=store.settings.queue_max_mb * 1024 * 1024
        )
        self._commands = CommandLoop(store=store, portal=PortalClient(store))
        self._deployment = Deployment(store)
        self._updates = UpdateLoop(
            store=store,
            portal=PortalClient(store),
            deployment=self._deployment,
            make_trust=make_trust,
            limits=limits,
            boot_id=boot,
            recent_log=recent.text,
        )
        self._drift = DriftLoop(
            store=store, portal=PortalClient(store), deployment=self._deployment
        )
        executor = self._made_executor(boot=boot, recent=recent)
        self._commands.executor = executor
        self._stream = self._made_stream(executor)
        self._heartbeats = self._made_heartbeats(boot=boot)

    def _made_executor(self, *, boot: str, recent: logs.RecentLines) -> Executor:
        context = Context(
            store=self._store,
            state_dir=self._store.state_dir,
            # The same thread claims and carries out, so it may share the connection.
            portal=self._commands.portal,
            boot_id=boot,
            uptime_s=seconds_since_boot,
            recent_log=recent.text,
            pause=self._commands.pause,
            deployment=self._deployment,
            keeping=self._updates.keeping,
        )
        return Executor(journal=self._journal, context=context)

    def _made_heartbeats(self, *, boot: str) -> HeartbeatLoop:
        source = HeartbeatSource(
            store=self._store,
            sequence=self._sequence,
            boot=boot,
            troubles=self._troubles,
            queue_length=lambda: len(self._queue),
            release=self._deployment.shown,
        )
        return HeartbeatLoop(
            store=self._store,
            portal=PortalClient(self._store),
            source=source,
            queue=self._queue,
            contact=ContactRecord(self._store.state_dir / "state.json"),
            on_commands=self._commands.wake,
            on_target=self._updates.told_target,
        )

    def _made_stream(self, executor: Executor) -> StreamLoop:
        stream = StreamLoop(
            store=self._store,
            portal=PortalClient(self._store),
            on_commands=self._commands.wake,
            on_cancel=executor.cancel,
            on_update=self._updates.wake,
            on_pause=self._updates.hold,
        )
        self._commands.is_stream_up = stream.is_up
        return stream

    def run(self) -> None:
        """Work until SIGTERM or SIGINT."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        settings = self._store.settings
        log.info("fleet-agent %s: %s at %s", __version__, settings.device_id, settings.fleet_url)
        _warn_of_plain_http(settings.fleet_url or "")
        self._remove_leftovers()
        loops = (self._heartbeats, self._commands, self._updates, self._drift, self._stream)
        threads = [self._thread(loop) for loop in loops]
        threading.Thread(target=resume_rotation, args=(self._store,), daemon=True).start()
        while not self._stopping.wait(WATCH_S):
            self._take_up_changes()
        for loop in loops:
            loop.stop()
        deadline = time.monotonic() + STOP_PATIENCE_S
        # The stream's thread sits in a read that nothing ends; leaving it costs nobody anything.
        for thread in threads[:3]:
            thread.join(max(0.0, deadline - time.monotonic()))
        log.info("fleet-agent ends")

    def _thread(self, loop: Loop) -> threading.Thread:
        # Daemons: a thread that waits for the portal or for a command must not hold up the end.
        thread = threading.Thread(target=loop.run, name=loop.name, daemon=True)
        thread.start()
        return thread

    def _stop(self, number: int, _frame: Optional[FrameType]) -> None:
        self._stopping.set()

    def _take_up_changes(self) -> None:
        trouble = self._store.trouble
        self._store.refresh()
        if self._store.trouble and self._store.trouble != trouble:
            log.error("The settings stay as they were: %s", self._store.trouble)
        # A command of the portal or the file's owner may have changed it.
        if self._store.settings is not self._taken_up:
            self._taken_up = self._store.settings
            log.info("fleet.conf has changed; its settings are taken up")
            logs.set_level(self._store.settings.log_level)
            self._heartbeats.settings_changed()
            self._commands.wake()
            self._stream.wake()
            self._updates.wake()
            self._drift.wake()

    def _remove_leftovers(self) -> None:
        state_dir = self._store.state_dir
        open_entries = self._journal.in_phase(ACCEPTED, STARTED, WAITING)
        wanted = {job_name(entry.command_id, entry.attempt) for entry in open_entries}
        wanted |= {
            job_name(entry.command_id, int(entry.facts["attempt"]))
            for entry in open_entries
            if "attempt" in entry.facts
        }
        remove_other_bundles(state_dir, wanted=wanted)
        remove_other_jobs(state_dir, wanted=wanted)

    def _troubles(self) -> list[str]:
        found = [self._queue.trouble, self._sequence.trouble, self._journal.trouble]
        found += [self._deployment.states.trouble, self._updates.watch.trouble]
        if self._store.trouble:
            found.append(f"fleet.conf cannot be used: {self._store.trouble}"[:500])
        if self._queue.dropped:
            found.append(f"offline queue was full: {self._queue.dropped} heartbeats dropped")
        return [trouble for trouble in found if trouble]


def run_agent(
    store: ConfigStore,
    make_trust: TrustMaker,
    limits: Limits = Limits(),  # noqa: B008 - it is frozen
) -> NoReturn:
    """Run until told to end, then leave the process with exit status 0.

    `make_trust` gives what decides whose releases are taken, `limits` the patience with them.

    Raises ConfigError when the device is switched on but not enrolled, AgentError when another
    agent runs.
    """
    if store.settings.fleet_enabled and not store.settings.is_enrolled:
        raise ConfigError(
            f"This device is not enrolled: {store.path} lacks FLEET_URL, DEVICE_ID or "
            "DEVICE_TOKEN. Run `fleet-agent enroll --url ...`."
        )
    recent = logs.set_up(store.settings.log_level)
    with single_run(prepared_state_dir(store)):
        Agent(store=store, recent=recent, make_trust=make_trust, limits=limits).run()
        logging.shutdown()
        # Threads may still wait in a long-poll; leaving at once spares the interpreter to wait.
        os._exit(0)


def prepared_state_dir(store: ConfigStore) -> Path:
    """Make the state directory. Raises AgentError when that is not possible."""
    path = store.state_dir
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise AgentError(
            f"{path} cannot be made: {error.strerror}. Set STATE_DIR in {store.path} to a "
            "directory this user may write to."
        ) from None
    return path


@contextmanager
def single_run(state_dir: Path) -> Iterator[None]:
    """Hold the state directory for this process alone. Raises AgentError when another has it."""
    try:
        with (state_dir / "agent.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
    except BlockingIOError:
        raise AgentError(f"Another fleet-agent runs with {state_dir}. Stop it first.") from None


def is_running(state_dir: Path) -> bool:
    """Tell whether an agent holds this state directory."""
    try:
        with (state_dir / "agent.lock").open("r") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _warn_of_plain_http(url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme == "http" and parts.hostname not in ("localhost", "127.0.0.1", "::1"):
        log.warning("FLEET_URL is http: anybody on the way can read this device's token")
