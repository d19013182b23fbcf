"""The part of the portal's double that offers releases and takes reports about them."""

from __future__ import annotations

import hashlib
import io
import re
import tarfile
import uuid
from dataclasses import dataclass, field
from typing import Any, Optional

# What the portal allows; the order of docs/decisions/0008.
MOVES = {
    "offered": ("downloading", "installing", "claimed", "failed", "rolled_back", "cancelled"),
    "downloading": ("installing", "awaiting_confirmation", "claimed", "failed", "rolled_back"),
    "installing": ("awaiting_confirmation", "claimed", "failed", "rolled_back"),
    "awaiting_confirmation": ("claimed", "failed", "rolled_back"),
}
ENDS = ("claimed", "failed", "rolled_back", "cancelled")
# A small program whose only trace is a file that says which release runs.
HOOKS = {
    "validate": 'echo "$FLEET_RELEASE_VERSION" >> "{run}/validated"',
    "stop": 'rm -f "{run}/running"; echo "stop $FLEET_RELEASE_VERSION" >> "{run}/log"',
    "start": 'echo "$FLEET_RELEASE_VERSION" > "{run}/running.new"\n'
    'mv "{run}/running.new" "{run}/running"\n'
    'echo "start $FLEET_RELEASE_VERSION" >> "{run}/log"',
    "health": 'read version < "{run}/running" && [ "$version" = "$FLEET_RELEASE_VERSION" ]',
    "safe-mode": 'echo "safe $FLEET_RELEASE_VERSION" > "{run}/running"',
}


@dataclass
class MadeRelease:
    """A release as somebody has published it: its bundle and its manifest."""

    version: str
    bundle: bytes
    manifest: dict[str, Any]
    members: list[tuple[tarfile.TarInfo, bytes]] = field(default_factory=list)

    def replace_bundle(self, bundle: bytes) -> None:
        """Sign other bytes as the bundle of the same release."""
        self.bundle = bundle
        digest = hashlib.sha256(bundle).hexdigest()
        self.manifest["bundle"] = {"size": len(bundle), "sha256": digest}

    @property
    def release_id(self) -> str:
        return str(self.manifest["release_id"])

    @property
    def target_path(self) -> str:
        return f"general/any/{self.version}/manifest.json"


def bundle_of(members: list[tuple[tarfile.TarInfo, bytes]]) -> bytes:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w:gz", compresslevel=1) as archive:
        for info, data in members:
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return sink.getvalue()


def member(path: str, data: bytes, mode: int = 0o644) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(path)
    info.mode = mode
    return info, data


def make_release(
    version: str,
    *,
    run: str,
    counter: int = 1,
    hooks: Optional[dict[str, str]] = None,
    files: Optional[dict[str, bytes]] = None,
) -> MadeRelease:
    """Make a release whose hooks leave their traces in the folder `run`."""
    scripts = {**HOOKS, **(hooks or {})}
    contents = {
        f"hooks/{name}": b"#!/bin/sh\n" + text.replace("{run}", run).encode() + b"\n"
        for name, text in scripts.items()
        if text
    }
    modes = dict.fromkeys(contents, 0o755)
    contents.update(files or {"app/version.txt": version.encode(), "app/data.bin": b"x" * 5000})
    folders = sorted({path.rpartition("/")[0] for path in contents} - {""})
    members = []
    for folder in folders:
        info = tarfile.TarInfo(folder)
        info.type, info.mode = tarfile.DIRTYPE, 0o755
        members.append((info, b""))
    members += [member(path, data, modes.get(path, 0o644)) for path, data in contents.items()]
    bundle = bundle_of(members)
    manifest = {
        "format": 1,
        "organization": "acme",
        "release_id": str(uuid.uuid5(uuid.NAMESPACE_URL, version)),
        "version": version,
        "commit": hashlib.sha1(version.encode(), usedforsecurity=False).hexdigest(),
        "counter": counter,
        "role": "any",
        "channel": "stable",
        "feature_flags": {},
        "required_migration": "",
        "created_at": "2026-01-01T00:00:00Z",
        "expires": "2099-01-01T00:00:00Z",
        "bundle": {"size": len(bundle), "sha256": hashlib.sha256(bundle).hexdigest()},
        "compose": None,
        "files": [
            {
                "path": path,
                "sha256": hashlib.sha256(data).hexdigest(),
                "size": len(data),
                "mode": f"{modes.get(path, 0o644):04o}",
            }
            for path, data in contents.items()
        ],
    }
    return MadeRelease(version, bundle, manifest, members)


@dataclass
class UpdateBook:
    """What the portal knows of one device's updates. `links` gives a link's number of uses."""

    manifests: dict[str, dict[str, Any]] = field(default_factory=dict)
    bundles: dict[str, bytes] = field(default_factory=dict)
    offer: Optional[dict[str, Any]] = None
    status: str = ""
    statuses: dict[int, str] = field(default_factory=dict)
    reports: list[dict[str, Any]] = field(default_factory=list)
    ends: dict[int, dict[str, Any]] = field(default_factory=dict)
    ranges: list[str] = field(default_factory=list)
    stale_links: int = 0
    cut_after: Optional[int] = None
    # How many downloads come byte by byte, and which bundles never end.
    drips: int = 0
    endless: bool = False
    drifts: list[dict[str, Any]] = field(default_factory=list)
    diagnostics: list[dict[str, Any]] = field(default_factory=list)

    def publish(self, release: MadeRelease) -> None:
        self.manifests[release.target_path] = release.manifest
        self.bundles[release.release_id] = release.bundle

    def offer_release(self, release: MadeRelease, **fields: Any) -> int:
        """Offer a release as a new update; return the update's id."""
        self.publish(release)
        update_id = 100 + len(self.statuses)
        self.offer = {
            "update_id": update_id,
            "kind": "rollout",
            "release_id": release.release_id,
            "version": release.version,
            "commit": release.manifest["commit"],
            "counter": release.manifest["counter"],
            "role": "any",
            "segment": "general",
            "target_path": release.target_path,
            "bundle": {
                "url": f"/files/{release.release_id}",
                "size": len(release.bundle),
                "sha256": release.manifest["bundle"]["sha256"],
                "expires_in_s": 300,
            },
            "from_version": "",
            "timeout_s": 60,
            "is_paused": False,
            "chaos": {},
            **fields,
        }
        self.statuses[update_id] = "offered"
        return update_id

    def offered(self) -> Optional[dict[str, Any]]:
        if self.offer is None or self.statuses[self.offer["update_id"]] in ENDS:
            return None
        return self.offer

    def report(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """Take a report; return the answer's status and body."""
        update_id, status = body["update_id"], body["status"]
        present = self.statuses.get(update_id)
        if present is None:
            return 404, {"code": "not_found", "detail": "no such update"}
        is_same = present == status
        if not is_same and status not in MOVES.get(present, ()):
            return 409, {
                "code": "transition_refused",
                "detail": "not now",
                "update_status": present,
            }
        self.statuses[update_id] = status
        self.reports.append(body)
        if status in ENDS:
            self.ends[update_id] = body
        return 200, {"update_id": update_id, "status": status, "accepted": True}

    def part(
        self, release_id: str, wanted: Optional[str], if_range: Optional[str]
    ) -> tuple[int, dict[str, str], bytes]:
        """Return status, headers and body for a bundle or the rest of it."""
        if self.stale_links:
            self.stale_links -= 1
            return 403, {}, b"{}"
        data = self.bundles[release_id]
        tag = f'"{hashlib.sha256(data).hexdigest()}"'
        headers = {"ETag": tag}
        match = re.fullmatch(r"bytes=(\d+)-", wanted or "")
        self.ranges.append(wanted or "")
        if match and if_range in (None, tag):
            start = int(match[1])
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
            return 206, headers, data[start:]
        return 200, headers, data
