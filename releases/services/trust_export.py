"""The repository as files, for any web server or CDN."""

from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

from accounts.models import Organization
from releases.errors import TrustConflict
from releases.models import TrustMetadata, TrustTarget
from releases.services.trust_repository import newest
from releases.trust.roles import ROOT, TIMESTAMP


def trust_export(*, organization: Organization, to: Path) -> int:
    """Write `metadata/` and `targets/` below the folder and return how many files it takes.

    The timestamp is written last: until then devices see what was there before. Raises
    TrustConflict when there is nothing to write, OSError when it cannot be written.
    """
    rows = newest(organization.pk)
    if TIMESTAMP not in rows:
        raise TrustConflict(
            "Nothing is signed yet. Publish a release, or finish the key ceremony; then export"
            " again."
        )
    count = 0
    for name, content in _files(organization):
        _write(to / name, content)
        count += 1
    for role in (ROOT, TIMESTAMP):
        _write(to / "metadata" / f"{role}.json", bytes(rows[role].content))
        count += 1
    return count


def _files(organization: Organization) -> Iterator[tuple[str, bytes]]:
    targets = TrustTarget.objects.filter(organization=organization, signed_at__isnull=False)
    for target in targets.iterator():
        folder, _, name = target.path.rpartition("/")
        yield f"targets/{folder}/{target.sha256}.{name}", bytes(target.content)
    metadata = TrustMetadata.objects.filter(organization=organization).exclude(role=TIMESTAMP)
    for row in metadata.iterator():
        yield f"metadata/{row.version}.{row.role}.json", bytes(row.content)


def _write(path: Path, content: bytes) -> None:
    if path.exists() and sha256(path.read_bytes()).digest() == sha256(content).digest():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.new")
    beside.write_bytes(content)
    beside.replace(path)
