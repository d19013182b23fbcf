"""Which account the servers run as, and what that account can reach.

PostgreSQL refuses to run as root. A root start therefore hands both servers to an unprivileged
account, which may be unable to enter the directory the project lies in.
"""

import os
import pwd
import subprocess
from dataclasses import dataclass
from pathlib import Path

from fleetsite.embedded.errors import EmbeddedError

DEFAULT_ACCOUNT = "nobody"


@dataclass(frozen=True)
class Account:
    """The user and group the servers run as; `switch` is False when it is already ours."""

    uid: int
    gid: int
    switch: bool

    def own(self, path: Path) -> None:
        """Give `path` to this account."""
        if self.switch:
            os.chown(path, self.uid, self.gid, follow_symlinks=False)

    def can_enter(self, path: Path) -> bool:
        """Whether this account can pass through every directory down to `path`."""
        if not self.switch:
            return os.access(path, os.X_OK)
        try:
            probe = subprocess.run(
                ["/bin/sh", "-c", 'test -x "$1"', "sh", str(path)],
                user=self.uid,
                group=self.gid,
                extra_groups=[],
                cwd="/",
                check=False,
            )
        except PermissionError:
            raise EmbeddedError(
                "PostgreSQL refuses to run as root, and this root may not become another user; "
                "start as a normal user, or set DATABASE_URL and REDIS_URL to servers of your own."
            ) from None
        return probe.returncode == 0


def server_account(*, data: Path | None = None) -> Account:
    """The account for the servers: ours, or as root the owner of `data`, EMBEDDED_USER or nobody.

    Raises EmbeddedError when the named account does not exist or is root itself.
    """
    if os.geteuid() != 0:
        return Account(os.geteuid(), os.getegid(), switch=False)
    if data is not None and data.exists() and data.stat().st_uid != 0:
        found = data.stat()
        return Account(found.st_uid, found.st_gid, switch=True)
    name = os.environ.get("EMBEDDED_USER") or DEFAULT_ACCOUNT
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        raise EmbeddedError(
            f"PostgreSQL refuses to run as root and this machine has no user {name!r}; "
            "name an existing one with EMBEDDED_USER=<user>."
        ) from None
    if entry.pw_uid == 0:
        raise EmbeddedError(f"EMBEDDED_USER={name} is root; name an unprivileged user.")
    return Account(entry.pw_uid, entry.pw_gid, switch=True)
