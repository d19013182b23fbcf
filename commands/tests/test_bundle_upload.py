"""A bundle arrives: at once or in parts, whatever happens on the way."""

import hashlib
from errno import ENOSPC
from pathlib import Path
from typing import Any

import pytest
from django.core.files.storage import default_storage

from audit.models import AuditEntry
from commands.bundles.receiving import Received, bundle_part_store, bundle_store
from commands.errors import BundleRefused, PartRefused
from commands.models import Command, SupportBundle
from commands.tests.bundles import bundle_command, ended_command
from common import clock, limits, staging
from common.errors import StorageFull
from common.staging import Upload

pytestmark = pytest.mark.django_db

ARCHIVE = bytes(range(256)) * 40


@pytest.fixture(autouse=True)
def _media(settings: Any, tmp_path: Path) -> None:
    settings.MEDIA_ROOT = tmp_path


def upload_of(archive: bytes = ARCHIVE) -> Upload:
    return Upload(size=len(archive), sha256=hashlib.sha256(archive).hexdigest())


def put(command: Command, offset: int, part: bytes, archive: bytes = ARCHIVE) -> Received:
    return bundle_part_store(
        command=command,
        offset=offset,
        part=part,
        upload=upload_of(archive),
        actor=None,  # type: ignore[arg-type]
        now=clock.now(),
    )


def stored(bundle: SupportBundle) -> bytes:
    bundle.refresh_from_db()
    return default_storage.open(bundle.quarantine.name).read()


def test_parts_make_the_archive_that_was_sent_and_one_entry_in_the_log():
    command = bundle_command()
    states = [
        put(command, offset, ARCHIVE[offset : offset + 4000]).bundle.status
        for offset in range(0, len(ARCHIVE), 4000)
    ]

    bundle = SupportBundle.objects.get()
    assert states == ["uploading", "uploading", "quarantined"]
    assert stored(bundle) == ARCHIVE
    assert AuditEntry.objects.filter(action="bundle.receive").count() == 1


def test_a_part_sent_twice_changes_nothing():
    command = bundle_command()
    put(command, 0, ARCHIVE[:4000])
    put(command, 4000, ARCHIVE[4000:8000])

    assert put(command, 4000, ARCHIVE[4000:8000]).bundle.received == 8000
    assert put(command, 0, ARCHIVE[:4000]).bundle.received == 8000
    put(command, 8000, ARCHIVE[8000:])
    assert put(command, 8000, ARCHIVE[8000:]).bundle.status == "quarantined"
    assert stored(SupportBundle.objects.get()) == ARCHIVE


@pytest.mark.parametrize("offset", [1, 3999, 4001, 8000])
def test_a_part_that_does_not_follow_is_told_where_to_go_on(offset: int):
    command = bundle_command()
    put(command, 0, ARCHIVE[:4000])

    with pytest.raises(PartRefused) as caught:
        put(command, offset, ARCHIVE[offset + 1 : offset + 1001])
    assert caught.value.extra["received"] == 4000


def test_a_damaged_whole_starts_over_and_then_succeeds():
    command = bundle_command()
    told = put(command, 0, b"x" * len(ARCHIVE))

    assert told.is_damaged
    assert told.bundle.received == 0
    assert put(command, 0, ARCHIVE).bundle.status == "quarantined"
    assert stored(told.bundle) == ARCHIVE


def test_bytes_behind_the_last_part_that_counted_are_dropped():
    """A crash after the write and before the commit leaves them."""
    command = bundle_command()
    bundle = put(command, 0, ARCHIVE[:4000]).bundle
    path = Path(default_storage.path(bundle.quarantine.name))
    path.write_bytes(path.read_bytes() + b"torn" * 3000)

    put(command, 4000, ARCHIVE[4000:])
    assert stored(bundle) == ARCHIVE


def test_a_lost_file_starts_the_upload_over():
    command = bundle_command()
    bundle = put(command, 0, ARCHIVE[:4000]).bundle
    Path(default_storage.path(bundle.quarantine.name)).unlink()

    with pytest.raises(PartRefused) as caught:
        put(command, 4000, ARCHIVE[4000:8000])
    assert caught.value.extra["received"] == 0
    assert put(command, 0, ARCHIVE).bundle.status == "quarantined"


def test_a_device_that_made_another_archive_starts_over_with_it():
    command = bundle_command()
    put(command, 0, ARCHIVE[:4000])
    other = ARCHIVE[::-1]

    with pytest.raises(PartRefused):
        put(command, 4000, other[4000:8000], other)
    assert put(command, 0, other, other).bundle.status == "quarantined"


def test_a_full_disk_loses_nothing(monkeypatch: pytest.MonkeyPatch):
    command = bundle_command()
    bundle = put(command, 0, ARCHIVE[:4000]).bundle

    def full(_number: int) -> None:
        raise OSError(ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(staging.os, "fsync", full)
        with pytest.raises(StorageFull):
            put(command, 4000, ARCHIVE[4000:8000])
    with monkeypatch.context() as patch:
        patch.setattr(limits, "BUNDLE_DISK_RESERVE_BYTES", 2**62)
        with pytest.raises(StorageFull):
            put(command, 4000, ARCHIVE[4000:8000])

    bundle.refresh_from_db()
    assert bundle.received == 4000
    assert put(command, 4000, ARCHIVE[4000:]).bundle.status == "quarantined"
    assert stored(bundle) == ARCHIVE


def test_only_an_open_bundle_command_takes_one():
    with pytest.raises(BundleRefused):
        put(bundle_command(kind="reboot"), 0, ARCHIVE)
    with pytest.raises(BundleRefused):
        put(ended_command(), 0, ARCHIVE)


def test_one_piece_sent_twice_is_one_bundle_and_another_is_refused(tmp_path: Path):
    command = bundle_command()

    def send(archive: bytes, sha256: str = "") -> SupportBundle:
        path = tmp_path / "sent"
        path.write_bytes(archive)
        with path.open("rb") as content:
            return bundle_store(
                command=command,
                content=content,
                size=len(archive),
                sha256=sha256,
                actor=None,  # type: ignore[arg-type]
                now=clock.now(),
            )

    first = send(ARCHIVE, upload_of().sha256.upper())
    assert send(ARCHIVE).pk == first.pk
    assert first.status == "quarantined"
    with pytest.raises(BundleRefused):
        send(b"another")
    with pytest.raises(BundleRefused):
        send(ARCHIVE, "0" * 64)
