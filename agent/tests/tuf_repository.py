"""A TUF repository in memory, served over loopback, that can be made to lie in every way."""

from __future__ import annotations

import contextlib
import copy
import hashlib
import json
import threading
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Union
from urllib.parse import unquote

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import (
    DelegatedRole,
    Delegations,
    Metadata,
    MetaFile,
    Role,
    Root,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)

METADATA = "/api/v1/trust/metadata/"
TARGETS = "/api/v1/trust/targets/"
DELEGATED = ("general", "staged")
COMMIT = "0123456789abcdef0123456789abcdef01234567"
# Seconds between the bytes of a server that drips, and how many an endless file has at most.
DRIP_S = 0.02
ENDLESS = 64 * 1024 * 1024

Content = Union[bytes, int, str]


def signer() -> CryptoSigner:
    return CryptoSigner(Ed25519PrivateKey.generate())


def manifest(version: str, **fields: Any) -> dict[str, Any]:
    """Return a manifest of a release for every role."""
    return {
        "format": 1,
        "organization": "acme",
        "release_id": f"id-{version}",
        "version": version,
        "commit": COMMIT,
        "counter": 10,
        "role": "any",
        "channel": "stable",
        "feature_flags": {},
        "required_migration": "",
        "created_at": "2026-01-01T00:00:00+00:00",
        "expires": "2035-01-01T00:00:00+00:00",
        "bundle": {"size": 10, "sha256": "ab" * 32},
        "compose": None,
        "files": [{"path": "a/b.txt", "sha256": "cd" * 32, "size": 3, "mode": 0o644}],
        **fields,
    }


class TufRepository:
    """Roles with keys, what is published, and what is answered instead of it.

    `answers` replaces a file by name: bytes, a status, or "drip", "endless", "drop".
    `custodians` and `general` sign with a threshold of 2; `online` signs the rest.
    """

    def __init__(self) -> None:
        self.custodians = [signer() for _ in range(3)]
        self.general_keys = [signer() for _ in range(3)]
        self.online = signer()
        self.files: dict[str, bytes] = {}
        self.answers: dict[str, Content] = {}
        self.asked: list[str] = []
        self.addresses: list[str] = []
        self.tokens: list[str] = []
        self.has_hashes = True
        self.root = Root(expires=self._in(365), consistent_snapshot=True)
        self.targets = Targets(expires=self._in(365))
        self.roles = {name: Targets(expires=self._in(90)) for name in DELEGATED}
        self.snapshot = Snapshot(expires=self._in(7))
        self.timestamp = Timestamp(expires=self._in(1))
        for part in (self.root, self.targets, self.snapshot, self.timestamp, *self.roles.values()):
            part.version = 0
        self.signed: dict[str, list[CryptoSigner]] = {}
        self.name_keys()
        self.publish("root", "targets", "general", "staged")

    @staticmethod
    def _in(days: float) -> datetime:
        return (datetime.now(timezone.utc) + timedelta(days=days)).replace(microsecond=0)

    # --- keys ---

    def name_keys(self) -> None:
        """Write who signs what into root and targets; they are still to be published."""
        ids = [one.public_key.keyid for one in self.custodians]
        online = self.online.public_key
        self.root.keys = {
            one.public_key.keyid: one.public_key for one in (*self.custodians, self.online)
        }
        for role in ("root", "targets"):
            self.root.roles[role] = Role(list(ids), 2)
        for role in ("snapshot", "timestamp"):
            self.root.roles[role] = Role([online.keyid], 1)
        general = [one.public_key.keyid for one in self.general_keys]
        keys = {one.public_key.keyid: one.public_key for one in (*self.general_keys, self.online)}
        self.targets.delegations = Delegations(
            keys,
            {
                "general": _delegated("general", general, 2),
                "staged": _delegated("staged", [online.keyid], 1),
            },
        )

    def signers(self, role: str) -> list[CryptoSigner]:
        """Return who signs a role: the test's choice, else as many as it takes."""
        usual = {"root": self.custodians[:2], "targets": self.custodians[:2]}
        usual["general"] = self.general_keys[:2]
        return self.signed.get(role, usual.get(role, [self.online]))

    # --- publishing ---

    def add(self, version: str, *, trusts: Iterable[str] = DELEGATED, **fields: Any) -> None:
        """List a release's manifest; it is still to be published."""
        for trust in trusts:
            content = json.dumps(manifest(version, **fields)).encode()
            self.put(trust, f"{trust}/any/{version}/manifest.json", content)

    def put(self, role: str, path: str, content: bytes) -> None:
        """List a target in a role and store its file."""
        file = TargetFile.from_data(path, content, ["sha256"])
        self.roles[role].targets[path] = file
        self.files[hashed(path, content)] = content

    def publish(self, *roles: str) -> None:
        """Sign new versions of these roles, and of snapshot and timestamp."""
        for role in roles:
            signed = self.part(role)
            signed.version += 1
            self.write(role)
        self.snapshot.version += 1
        for role in ("targets", *DELEGATED):
            self.snapshot.meta[f"{role}.json"] = self._meta(role)
        self.write("snapshot")
        self.publish_timestamp()

    def publish_timestamp(self) -> None:
        self.timestamp.version += 1
        self.timestamp.snapshot_meta = self._meta("snapshot")
        self.write("timestamp")

    def part(self, role: str) -> Any:
        return self.roles[role] if role in self.roles else getattr(self, role)

    def write(self, role: str, change: Callable[[dict[str, Any]], None] | None = None) -> bytes:
        """Sign a role as it is and store the file; `change` alters it after it was signed."""
        metadata = Metadata(copy.deepcopy(self.part(role)))
        for one in self.signers(role):
            metadata.sign(one, append=True)
        content = metadata.to_bytes()
        if change is not None:
            record = json.loads(content)
            change(record)
            content = json.dumps(record).encode()
        self.files[self.name(role)] = content
        if role == "root":
            self.files["root.json"] = content
        return content

    def name(self, role: str) -> str:
        """Return the name of a role's newest file."""
        version = "" if role == "timestamp" else f"{self.part(role).version}."
        return f"{version}{role}.json"

    def _meta(self, role: str) -> MetaFile:
        content = self.files[self.name(role)]
        hashes = {"sha256": hashlib.sha256(content).hexdigest()} if self.has_hashes else None
        length = len(content) if self.has_hashes else None
        return MetaFile(self.part(role).version, length, hashes)

    def expire(self, role: str) -> None:
        """Publish a role that expired a minute ago."""
        self.part(role).expires = self._in(-1 / 1440)
        if role == "timestamp":
            self.publish_timestamp()
        elif role == "snapshot":
            self.publish()
        else:
            self.publish(role)

    # --- serving ---

    def start(self) -> None:
        repository = self

        class Handler(RepositoryHandler):
            served = repository

        self.stopping = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self) -> None:
        self.stopping.set()
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"


def _delegated(name: str, key_ids: list[str], threshold: int) -> DelegatedRole:
    return DelegatedRole(
        name, key_ids, threshold, terminating=True, paths=[f"{name}/*/*/manifest.json"]
    )


def hashed(path: str, content: bytes) -> str:
    """Return the name of a target's file in a repository with consistent snapshots."""
    folder, _, name = path.rpartition("/")
    return f"{folder}/{hashlib.sha256(content).hexdigest()}.{name}"


class RepositoryHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    served: TufRepository

    def log_message(self, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        path = unquote(self.path)
        for prefix in (METADATA, TARGETS):
            path = path[len(prefix) :] if path.startswith(prefix) else path
        served = self.served
        served.asked.append(path)
        served.addresses.append(self.path)
        served.tokens.append(self.headers.get("X-Device-Token") or "")
        content = served.answers.get(path, served.files.get(path, 404))
        with contextlib.suppress(OSError):
            self._answer(content)

    def _answer(self, content: Content) -> None:
        if content == "drop":
            self.close_connection = True
        elif content in ("drip", "endless"):
            self._long(b" " if content == "drip" else b" " * 65536)
        else:
            self._whole(content)

    def _whole(self, content: Content) -> None:
        status = content if isinstance(content, int) else 200
        body = content if isinstance(content, bytes) else b"{}"
        self.send_response(status)
        if 300 <= status < 400:
            self.send_header("Location", "http://127.0.0.1:9/elsewhere")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _long(self, piece: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(ENDLESS))
        self.end_headers()
        pause = DRIP_S if len(piece) == 1 else 0
        for _ in range(ENDLESS // len(piece)):
            self.wfile.write(piece)
            if self.served.stopping.wait(pause) if pause else False:
                return
