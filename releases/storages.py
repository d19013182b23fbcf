"""Where bundles are kept: on this machine's disk, or in a store that speaks S3."""

from typing import IO

from django.core.files.storage import FileSystemStorage, Storage, storages


def artifact_storage() -> Storage:
    """Return the storage of bundles; settings choose it by ARTIFACT_STORAGE_URL."""
    return storages["artifacts"]


def is_local() -> bool:
    """Say whether bundles lie on this machine's disk."""
    return isinstance(artifact_storage(), FileSystemStorage)


def bundle_open(name: str, *, start: int, length: int) -> IO[bytes]:
    """Open a stored bundle at byte `start`, to read `length` bytes. Raises FileNotFoundError."""
    file = artifact_storage().open(name, "rb")
    remote = getattr(file, "obj", None)
    if remote is not None:
        # Of an object in S3 only the range travels, and nothing is kept on this machine.
        body: IO[bytes] = remote.get(Range=f"bytes={start}-{start + length - 1}")["Body"]
        return body
    file.seek(start)
    opened: IO[bytes] = file
    return opened
