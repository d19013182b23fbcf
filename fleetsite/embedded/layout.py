"""Where the servers of one VAR_DIR keep data and sockets.

    VAR_DIR/secrets.json   generated secrets, 0600
    VAR_DIR/servers        data of both servers; as root possibly a symbolic link (see below)
    VAR_DIR/run            pid files, locks, servers.json
    VAR_DIR/logs           one file per process

Started by root, the servers run as an unprivileged account. When that account cannot enter
VAR_DIR (a clone below /root, say), `servers` becomes a link to a directory of its own below
EMBEDDED_DIR, /var/lib/fleet-portal unless set. No permission of an existing directory is changed.
"""

import os
import re
import secrets
import tempfile
from dataclasses import dataclass
from pathlib import Path

from fleetsite.embedded.account import Account, server_account
from fleetsite.embedded.errors import EmbeddedError

DEFAULT_OUTSIDE = "/var/lib/fleet-portal"
# sun_path holds 108 bytes with its NUL; ".s.PGSQL.5432.lock" is the longest name beside a socket.
LONGEST_SOCKET_DIRECTORY = 107 - len("/.s.PGSQL.5432.lock")
# A socket path goes into URLs that several libraries read; anything else would need quoting.
PLAIN_PATH = re.compile(r"[A-Za-z0-9/._-]+")


@dataclass(frozen=True)
class Home:
    """The resolved directory of the servers' data and the account that owns it."""

    root: Path
    account: Account

    @property
    def outside(self) -> Path:
        """Where things go that the account must reach although the project is closed to it."""
        return Path(os.environ.get("EMBEDDED_DIR") or DEFAULT_OUTSIDE)

    def private_directory(self, name: str) -> Path:
        """A directory below the home that only the account may enter."""
        path = self.root / name
        path.mkdir(mode=0o700, exist_ok=True)
        self.account.own(path)
        return path

    def socket_directory(self) -> Path:
        """A private directory whose path is short and plain enough for a socket."""
        near = self.private_directory("sockets")
        if usable_for_sockets(near):
            return near
        note = self.root / "sockets.path"
        noted = Path(note.read_text(encoding="utf-8")) if note.exists() else None
        if noted is not None and self._is_ours(noted):
            return noted
        far = Path(tempfile.mkdtemp(prefix="fleet-", dir="/tmp"))
        self.account.own(far)
        note.write_text(str(far), encoding="utf-8")
        return far

    def _is_ours(self, path: Path) -> bool:
        try:
            found = path.lstat()
        except OSError:
            return False
        return path.is_dir() and found.st_uid == self.account.uid and found.st_mode & 0o077 == 0


def usable_for_sockets(path: Path) -> bool:
    text = str(path)
    return len(text.encode()) <= LONGEST_SOCKET_DIRECTORY and bool(PLAIN_PATH.fullmatch(text))


def prepare_home(directory: Path) -> Home:
    """Make `directory`/servers, in place or as a link to a place the servers' account can reach.

    Raises EmbeddedError when no such place can be made.
    """
    directory.mkdir(parents=True, exist_ok=True)
    link = directory / "servers"
    account = server_account(data=link / "postgres")
    if link.is_symlink() and not link.exists():
        raise EmbeddedError(
            f"{link} points to {link.readlink()}, which is gone; put the data back, "
            f"or remove the link to start with an empty database."
        )
    if not link.exists():
        _create_home(directory, link, account)
    root = link.resolve()
    if not account.can_enter(root):
        raise EmbeddedError(
            f"The servers run as uid {account.uid}, which cannot enter {root}; move it with its "
            f"content to {DEFAULT_OUTSIDE} and make {link} a symbolic link to it."
        )
    return Home(root, account)


def _create_home(directory: Path, link: Path, account: Account) -> None:
    if account.switch:
        # Its files stay closed; the account only has to pass through to its own directory.
        directory.chmod(0o711)
    if account.can_enter(directory):
        link.mkdir()
        link.chmod(0o711)  # whatever the mask is
        return
    place = Home(directory, account).outside / secrets.token_hex(8)
    try:
        place.mkdir(parents=True, mode=0o711)
        place.chmod(0o711)
        place.parent.chmod(0o755)
        (place / "belongs-to").write_text(f"{directory.resolve()}\n", encoding="utf-8")
    except OSError as problem:
        raise EmbeddedError(
            f"The servers cannot run as root and cannot enter {directory}; {place.parent} was "
            f"refused too ({problem.strerror}): name a directory with EMBEDDED_DIR=<path>."
        ) from None
    if not account.can_enter(place):
        raise EmbeddedError(
            f"The servers' account cannot enter {place}; name an open directory with "
            "EMBEDDED_DIR=<path>."
        )
    link.symlink_to(place)
