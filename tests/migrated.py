"""The database that every worker's is a copy of: migrated once, while the tests are collected."""

import atexit
import fcntl
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

import psycopg

from tests.sources import PROJECT

# Names the file whose lock is held as long as the migration runs.
LOCK = "TEST_MIGRATION_LOCK"
DATABASE = "migrated"


def begin() -> None:
    """Make and migrate the database in a process of its own, which holds the lock."""
    url = os.environ["DATABASE_URL"]
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {DATABASE}")
    own = {
        "DATABASE_URL": urlsplit(url)._replace(path=f"/{DATABASE}").geturl(),
        "DJANGO_SETTINGS_MODULE": "fleetsite.settings",
    }
    handle, path = tempfile.mkstemp(prefix="fleet-migration-")
    fcntl.flock(handle, fcntl.LOCK_EX)
    migration = subprocess.Popen(
        [sys.executable, "manage.py", "migrate", "--verbosity=0"],
        cwd=PROJECT,
        env=os.environ | own,
        pass_fds=[handle],
    )
    os.close(handle)
    os.environ[LOCK] = path

    def end() -> None:
        migration.kill()
        migration.wait()
        Path(path).unlink()

    atexit.register(end)


def template() -> str | None:
    """Return the database to copy once its migration has ended; none on servers from outside.

    What a migration that failed left to do is done, or fails again, in the copy.
    """
    if LOCK not in os.environ:
        return None
    with open(os.environ[LOCK], "rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
    return DATABASE
