"""Work on what strangers sent, done by a process that may die of it."""

import subprocess
import sys
from collections.abc import Sequence

from django.conf import settings


def run_apart(
    module: str, *, files: Sequence[int], words: Sequence[str] = (), timeout_s: float
) -> "subprocess.CompletedProcess[bytes]":
    """Run `python -m module <numbers of files> <words>` and return how it ended.

    It inherits these open files and nothing else: no settings, no secrets, no database. Raises
    subprocess.TimeoutExpired.
    """
    return subprocess.run(  # noqa: S603 - its words are all written by the portal
        [sys.executable, "-B", "-s", "-m", module, *map(str, files), *words],
        cwd=settings.BASE_DIR,
        env={"LANG": "C.UTF-8", "PATH": "/usr/bin:/bin"},
        pass_fds=tuple(files),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        timeout=timeout_s,
    )
