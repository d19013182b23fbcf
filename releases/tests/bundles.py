"""Bundles for tests: as they are built, and as they are stored."""

import gzip
import hashlib
import io
import tarfile
from typing import Any

from django.core.files.base import ContentFile

from releases.models import Artifact, Release
from releases.tests.factories import ArtifactFactory

Files = dict[str, str | bytes]
COMPOSE = "services:\n  app:\n    image: registry.example.org/app@sha256:" + "a" * 64 + "\n"
# A bundle nothing is wrong with.
GOOD: Files = {
    "compose.yml": COMPOSE + "    environment:\n      PORT: ${PORT}\n      LEVEL: ${LEVEL:-info}\n",
    "env.template": "# where it listens\nPORT=8080\n",
    "hooks/health": "#!/bin/sh\nexit 0\n",
    "app.txt": "hello\n",
}


def bundle(files: Files | None = None, *, modes: dict[str, int] | None = None) -> bytes:
    """Return the files as a tar.gz; hooks are executable unless `modes` says otherwise."""
    into = io.BytesIO()
    with tarfile.open(fileobj=into, mode="w") as archive:
        for name, content in (GOOD if files is None else files).items():
            data = content.encode() if isinstance(content, str) else content
            member = tarfile.TarInfo(name)
            member.size = len(data)
            member.mode = (modes or {}).get(name, 0o755 if "hooks/" in name else 0o644)
            archive.addfile(member, io.BytesIO(data))
    return gzip.compress(into.getvalue(), mtime=0)


def stored_artifact(release: Release, content: bytes, *, role: str = "", **fields: Any) -> Artifact:
    """Return a stored bundle of these bytes, of a release that can still be changed."""
    artifact: Artifact = ArtifactFactory.build(
        release=release,
        organization=release.organization,
        role=role,
        size=len(content),
        received=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        **fields,
    )
    artifact.file.save(f"releases/bundles/{artifact.pk}.tar.gz", ContentFile(content), save=False)
    artifact.save(force_insert=True)
    return artifact
