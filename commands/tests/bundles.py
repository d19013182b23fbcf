"""Bundles for tests: archives as devices send them, and kept ones."""

import gzip
import hashlib
import io
import tarfile
import zipfile
from datetime import datetime, timedelta
from typing import Any

from django.core.files.base import ContentFile

from commands.models import Command, SupportBundle
from commands.tests.factories import CommandFactory
from common import clock

Files = dict[str, str | bytes]


def tar_gz(files: Files) -> bytes:
    """Return the files as a tar.gz."""
    return gzip.compress(tar(files), mtime=0)


def tar(files: Files) -> bytes:
    """Return the files as a tar."""
    into = io.BytesIO()
    with tarfile.open(fileobj=into, mode="w") as archive:
        for name, content in files.items():
            data = content.encode() if isinstance(content, str) else content
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return into.getvalue()


def zipped(files: Files) -> bytes:
    """Return the files as a zip."""
    into = io.BytesIO()
    with zipfile.ZipFile(into, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return into.getvalue()


def bundle_command(**fields: Any) -> Command:
    """Return a command that waits for its bundle."""
    lease = {"status": "delivered", "attempt": 1}
    lease |= {"lease_expires_at": clock.now() + timedelta(minutes=1)}
    command: Command = CommandFactory(**{"kind": "bundle", "payload": {}, **lease, **fields})
    return command


def ended_command(**fields: Any) -> Command:
    """Return a bundle command that failed."""
    ended = {"status": "failed", "lease_expires_at": None, "finished_at": clock.now()}
    return bundle_command(**ended, **fields)


def sent_bundle(command: Command, archive: bytes) -> SupportBundle:
    """Return a bundle in quarantine."""
    bundle = _row(command, archive, clock.now())
    bundle.status = SupportBundle.Status.QUARANTINED
    bundle.quarantine.save(f"{bundle.pk}", ContentFile(archive), save=False)
    bundle.save(force_insert=True)
    return bundle


def kept_bundle(
    command: Command, files: Files, *, at: datetime | None = None, **fields: Any
) -> SupportBundle:
    """Return a ready bundle that holds the files, all of them text."""
    archive = zipped(files)
    bundle = _row(command, archive, at or clock.now())
    bundle.status = SupportBundle.Status.READY
    bundle.kept_size = len(archive)
    bundle.manifest = [
        {
            "path": name,
            "size": len(content),
            "kind": "text" if isinstance(content, str) else "binary",
            "lines": content.count("\n") if isinstance(content, str) else 0,
        }
        for name, content in files.items()
    ]
    for name, value in fields.items():
        setattr(bundle, name, value)
    bundle.file.save(f"{bundle.pk}.zip", ContentFile(archive), save=False)
    bundle.save(force_insert=True)
    return bundle


def _row(command: Command, archive: bytes, at: datetime) -> SupportBundle:
    return SupportBundle(
        organization=command.organization,
        device=command.device,
        command=command,
        size=len(archive),
        received=len(archive),
        sha256=hashlib.sha256(archive).hexdigest(),
        created_at=at,
        expires_at=at + timedelta(days=30),
    )
