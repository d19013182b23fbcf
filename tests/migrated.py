"""The database that every worker's is a copy of: migrated once, while the tests are collected."""

import atexit
import fcntl
import os
import subprocess
import sys
import tempfile
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
# Names the file whose lock is held as long as the migration runs.
LOCK = "TEST_MIGRATION_LOCK"


def begin() -> None:
    """Migrate the database of DATABASE_URL in a process of its own, which holds the lock."""
    handle, path = tempfile.mkstemp(prefix="fleet-migration-")
    fcntl.flock(handle, fcntl.LOCK_EX)
    migration = subprocess.Popen(
        [sys.executable, "manage.py", "migrate", "--verbosity=0"],
        cwd=PROJECT,
        env=os.environ | {"DJANGO_SETTINGS_MODULE": "fleetsite.settings"},
        pass_fds=[handle],
    )
    os.close(handle)
    os.environ[LOCK] = path

    def end() -> None:
        migration.kill()
        migration.wait()
        Path(path).unlink()

    atexit.register(end)


def wait() -> None:
    """Return when the migration has ended; what it left to do is done in the copy."""
    if LOCK in os.environ:
        with open(os.environ[LOCK], "rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH)
