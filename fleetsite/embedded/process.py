"""Starting, ending and finding processes."""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import psutil

from fleetsite.embedded.account import Account

PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def die_with_parent(number: signal.Signals) -> Callable[[], None] | None:
    """What a child runs before its program so that `number` reaches it when its parent dies.

    Linux only; elsewhere None, and what outlives its parent is ended at the next start. It has to
    run after the change of user, which clears the setting: subprocess does it in that order.
    """
    if _libc is None:
        return None
    prctl, parent = _libc.prctl, os.getpid()

    def ask() -> None:
        prctl(PR_SET_PDEATHSIG, number)
        if os.getppid() != parent:  # it died between the fork and the line above
            os._exit(1)

    return ask


def spawn(
    command: Sequence[str | Path],
    *,
    log: Path,
    cwd: Path,
    environment: Mapping[str, str],
    death: signal.Signals,
    account: Account | None = None,
) -> "subprocess.Popen[bytes]":
    """Start `command` in a session of its own, its output appended to `log`."""
    identity = {}
    if account is not None and account.switch:
        identity = {"user": account.uid, "group": account.gid, "extra_groups": []}
    with log.open("ab") as output:
        return subprocess.Popen(  # type: ignore[call-overload,no-any-return]
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=cwd,
            env=dict(environment),
            start_new_session=True,
            preexec_fn=die_with_parent(death),  # safe: the caller has one thread
            umask=0o077,
            **identity,
        )


def processes_in(directory: Path, *, title: str) -> list[psutil.Process]:
    """Processes that work in `directory` or whose command line holds `title`.

    The servers work in their data directory, which is sure; but root in a container may be denied
    that look at another user's process, and the command line is open to everybody.
    """
    wanted = str(directory)
    return [p for p in psutil.process_iter() if _works_in(p, wanted) or _is_titled(p, title)]


def _works_in(process: psutil.Process, directory: str) -> bool:
    try:
        return bool(process.cwd() == directory)
    except psutil.Error:
        return False


def _is_titled(process: psutil.Process, title: str) -> bool:
    try:
        return title in " ".join(process.cmdline())
    except psutil.Error:
        return False


def end(processes: Iterable[psutil.Process], *, number: signal.Signals, patience: float) -> None:
    """Send `number`, wait up to `patience` seconds, then kill what is left."""
    waiting = list(processes)
    for process in waiting:
        with contextlib.suppress(psutil.Error):
            process.send_signal(number)
    _, left = psutil.wait_procs(waiting, timeout=patience)
    for process in left:
        with contextlib.suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(left, timeout=5)


def wait_until(condition: Callable[[], bool], *, patience: float, every: float = 0.02) -> bool:
    """Whether `condition` came true within `patience` seconds."""
    deadline = time.monotonic() + patience
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(every)
    return True


def last_lines(log: Path, *, containing: Sequence[str] = (), count: int = 1) -> str:
    """The last `count` lines of `log` that hold one of `containing`; empty when there are none."""
    try:
        with log.open("rb") as source:
            source.seek(max(0, log.stat().st_size - 16_384))
            lines = source.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return ""
    fitting = [line for line in lines if any(word in line for word in containing or ("",))]
    return " ".join(line.strip() for line in fitting[-count:])
