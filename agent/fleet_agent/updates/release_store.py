"""The releases on this device: folders, the links `current` and `previous`, kept bundles."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from pathlib import Path
from typing import Optional

from fleet_agent.durable import sync_directory, write_atomically
from fleet_agent.updates.facts import read_kept, release_id_of
from fleet_agent.updates.manifest import Manifest

CURRENT = "current"
PREVIOUS = "previous"
INSTALLED = ".installed.json"
KEPT_INSTALLED = 1000
# Beside what a release needs; a device with a full disk is hard to help from afar.
RESERVE_BYTES = 64 * 1024 * 1024


class ReleaseStore:
    """RELEASES_DIR. `<id>/` are files of a release, `<id>.json` is its signed manifest,
    `.bundles/<id>.tar.gz` its bundle. Names that begin with a dot are unfinished or internal.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def prepare(self) -> None:
        """Make the folders. Raises OSError."""
        # Others may have to look inside: the application need not run as the agent's user.
        self.root.mkdir(mode=0o755, parents=True, exist_ok=True)
        (self.root / ".bundles").mkdir(mode=0o700, exist_ok=True)

    def folder(self, release_id: str) -> Path:
        return self.root / release_id

    def partial(self, release_id: str) -> Path:
        return self.root / f".{release_id}.partial"

    def bundle(self, release_id: str) -> Path:
        return self.root / ".bundles" / f"{release_id}.tar.gz"

    def part(self, release_id: str) -> Path:
        return self.root / ".bundles" / f"{release_id}.part"

    def facts_path(self, release_id: str) -> Path:
        return self.root / f"{release_id}.json"

    def facts(self, release_id: Optional[str]) -> Optional[Manifest]:
        """Return what is known of a release that is here; None when nothing is."""
        return read_kept(self.facts_path(release_id)) if release_id else None

    def keep_facts(self, facts: Manifest) -> None:
        """Raises OSError."""
        write_atomically(self.facts_path(facts.release_id), facts.content, mode=0o644)

    def named(self, name: str) -> Optional[str]:
        """Return the release a link names; None when there is no such link or release."""
        try:
            release_id = release_id_of(os.readlink(self.root / name))
        except (OSError, ValueError):
            return None
        return release_id if self.folder(release_id).is_dir() else None

    def current(self) -> Optional[str]:
        return self.named(CURRENT)

    def point(self, name: str, release_id: Optional[str]) -> None:
        """Let a link name a release, in one step; None takes the link away. Raises OSError."""
        link = self.root / name
        if release_id is None:
            link.unlink(missing_ok=True)
        else:
            aside = self.root / f".{name}"
            aside.unlink(missing_ok=True)
            aside.symlink_to(release_id)
            aside.replace(link)
        sync_directory(self.root)

    def prepare_way_back(self, release_id: Optional[str]) -> None:
        """Make the link a way back needs beforehand: a full disk then cannot bar it. OSError."""
        aside = self.root / ".back"
        aside.unlink(missing_ok=True)
        if release_id is not None:
            aside.symlink_to(release_id)

    def link_back(self, release_id: Optional[str]) -> None:
        """Let `current` name what it named before an update. Raises OSError."""
        aside = self.root / ".back"
        if self.current() == release_id:
            return
        if release_id is None or not aside.is_symlink() or os.readlink(aside) != release_id:
            self.point(CURRENT, release_id)
            return
        aside.replace(self.root / CURRENT)
        sync_directory(self.root)

    def installed_before(self) -> frozenset[tuple[str, str]]:
        """Return version and commit of every release that has worked here."""
        return frozenset(self._installed())

    def note_installed(self, release_id: str) -> None:
        """Remember that a release has worked: a way back to it is allowed. Raises OSError."""
        facts, known = self.facts(release_id), self._installed()
        if facts is None or (facts.version, facts.commit) in known:
            return
        pairs = [*known, (facts.version, facts.commit)][-KEPT_INSTALLED:]
        write_atomically(self.root / INSTALLED, json.dumps(pairs).encode())

    def _installed(self) -> list[tuple[str, str]]:
        """Return version and commit of what has worked, the oldest first."""
        try:
            pairs = json.loads((self.root / INSTALLED).read_bytes())
            return [(str(version), str(commit)) for version, commit in pairs]
        except (OSError, ValueError, TypeError):
            return []

    def free_bytes(self) -> int:
        """Return what may be written, the reserve left out. Raises OSError."""
        found = os.statvfs(self.root)
        return max(0, found.f_bavail * found.f_frsize - RESERVE_BYTES)

    def tidy(self, *, keep: int, wanted: set[str]) -> None:
        """Remove releases beyond the newest `keep` that are neither linked nor wanted.

        What cannot be removed stays for the next time, and so does everything when the disk does
        not tell what there is: the facts of a release are only left over without its folder.
        """
        with contextlib.suppress(OSError):
            self._tidy(keep, wanted, self._release_ids())

    def _tidy(self, keep: int, wanted: set[str], present: list[str]) -> None:
        linked = {self.current(), self.named(PREVIOUS)} | wanted
        others = [name for name in present if name not in linked]
        others.sort(key=self._age, reverse=True)
        # `previous` is one of those that are kept.
        for release_id in others[keep - bool(self.named(PREVIOUS)) :]:
            self.remove(release_id)
        self._remove_leftovers({*wanted, *self._release_ids()})

    def remove(self, release_id: str) -> None:
        """Remove a release. It loses its name first, so that no half of it looks whole."""
        gone = self.root / f".{release_id}.gone"
        with contextlib.suppress(OSError):
            shutil.rmtree(gone, ignore_errors=True)
            if self.folder(release_id).exists():
                self.folder(release_id).rename(gone)
            self.facts_path(release_id).unlink(missing_ok=True)
            self.bundle(release_id).unlink(missing_ok=True)
        shutil.rmtree(gone, ignore_errors=True)

    def _release_ids(self) -> list[str]:
        """Return the releases whose folders are here. Raises OSError."""
        with os.scandir(self.root) as entries:
            folders = [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
        return [name for name in folders if _is_release_id(name)]

    def _age(self, release_id: str) -> int:
        facts = self.facts(release_id)
        return facts.counter if facts else 0

    def _remove_leftovers(self, wanted: set[Optional[str]]) -> None:
        known = {name for name in wanted if name}
        for path in (*self.root.glob(".*"), *self.root.glob("*.json")):
            release_id = path.name.lstrip(".").partition(".")[0]
            if _is_release_id(release_id) and release_id not in known:
                with contextlib.suppress(OSError):
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
        for path in (self.root / ".bundles").glob("*"):
            if path.name.partition(".")[0] not in known:
                with contextlib.suppress(OSError):
                    path.unlink()


def _is_release_id(name: str) -> bool:
    try:
        return release_id_of(name) == name
    except ValueError:
        return False
