import errno
import os
import shutil
import signal
import sys
import traceback
from pathlib import Path
from types import FrameType

from fleetsite.embedded.errors import EmbeddedError
from fleetsite.supervisor import preflight
from fleetsite.supervisor.errors import UpError
from fleetsite.supervisor.options import options_from
from fleetsite.supervisor.portal import Portal


class Stop(BaseException):
    """SIGINT or SIGTERM arrived. No Exception: nothing on the way may swallow it."""


def main() -> int:
    """Run the portal until it is told to stop; return the exit code."""
    _obey_signals()
    var_dir: Path | None = None
    try:
        options = options_from(os.environ)
        var_dir = options.var_dir
        preflight.make_var_dir(var_dir)
        instance = preflight.claim(options)
        portal = Portal(options, instance=instance)
        try:
            portal.start()
            portal.watch()
        finally:
            _ignore_signals()
            portal.stop()
    except Stop:
        return 0
    except (UpError, EmbeddedError) as problem:
        return _refuse(str(problem))
    except Exception as problem:  # noqa: BLE001 - the last resort: one sentence, details in a file
        return _refuse(_sentence(problem, var_dir))
    return 0


def _obey_signals() -> None:
    def stop(_number: int, _frame: FrameType | None) -> None:
        raise Stop

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # `nohup` had SIGHUP ignored before this program began; that is kept.
        if signal.getsignal(number) is not signal.SIG_IGN or number is not signal.SIGHUP:
            signal.signal(number, stop)


def _ignore_signals() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


def _refuse(sentence: str) -> int:
    sys.stderr.write(f"{sentence}\n")
    return 1


def _sentence(problem: Exception, var_dir: Path | None) -> str:
    if var_dir is None:
        return f"The portal could not start: {problem}."
    if isinstance(problem, OSError) and problem.errno in (errno.ENOSPC, errno.EDQUOT):
        return preflight.disk_full(var_dir)
    log = var_dir / "logs" / "up.log"
    try:
        with log.open("a", encoding="utf-8") as out:
            traceback.print_exc(file=out)
    except OSError:
        return f"The portal could not start: {problem}."
    if shutil.disk_usage(var_dir).free < preflight.MEGABYTE:
        return preflight.disk_full(var_dir)
    return f"The portal could not start: {problem} (details in {log})."
