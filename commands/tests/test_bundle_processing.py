"""From quarantine to ready, and what happens to bundles that kill whoever reads them."""

import subprocess
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.files.storage import default_storage
from django.db import connection

from audit.models import AuditEntry
from commands.bundles import processing
from commands.bundles.processing import bundle_process_next, bundles_recover
from commands.bundles.retention import bundles_retire, strays_remove
from commands.models import SupportBundle
from commands.tests.bundles import bundle_command, ended_command, kept_bundle, sent_bundle, tar_gz
from common import clock, limits
from devices.tests.factories import DeviceFactory

pytestmark = pytest.mark.django_db

GOOD = tar_gz({"logs/app.txt": "password = hunter2\n"})


@pytest.fixture(autouse=True)
def _media(settings: Any, tmp_path: Path) -> None:
    settings.MEDIA_ROOT = tmp_path


def files_in(folder: str) -> list[str]:
    root = Path(default_storage.path(folder))
    return [str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()]


def test_a_bundle_becomes_ready_and_what_was_sent_is_gone(
    django_capture_on_commit_callbacks: Any,
):
    bundle = sent_bundle(bundle_command(), GOOD)
    with django_capture_on_commit_callbacks(execute=True):
        assert bundle_process_next(now=clock.now())

    bundle.refresh_from_db()
    assert bundle.status == "ready"
    assert bundle.kept_size > 0
    assert [one["path"] for one in bundle.manifest] == ["logs/app.txt"]
    assert bundle.redactions == [{"rule": "password", "path": "logs/app.txt", "count": 1}]
    assert files_in("quarantine") == []
    assert len(files_in("bundles")) == 1
    assert AuditEntry.objects.filter(action="bundle.process").count() == 1
    assert not bundle_process_next(now=clock.now())


def test_a_bad_archive_is_refused_with_its_reason_and_removed(
    django_capture_on_commit_callbacks: Any,
):
    bundle = sent_bundle(bundle_command(), b"no archive at all")
    with django_capture_on_commit_callbacks(execute=True):
        bundle_process_next(now=clock.now())

    bundle.refresh_from_db()
    assert (bundle.status, bundle.quarantine.name) == ("refused", "")
    assert "no archive" in bundle.error
    assert files_in("quarantine") == files_in("bundles") == []


def test_one_that_ends_its_reader_three_times_is_refused(monkeypatch: pytest.MonkeyPatch):
    bundle = sent_bundle(bundle_command(), GOOD)
    died = subprocess.CompletedProcess([], -9, b"", b"killed")
    monkeypatch.setattr(subprocess, "run", lambda *_args, **_options: died)

    states = []
    for _ in range(limits.BUNDLE_TRIES):
        bundle_process_next(now=clock.now())
        bundle.refresh_from_db()
        states.append(bundle.status)

    assert states == ["quarantined", "quarantined", "refused"]
    assert "3 times" in bundle.error


def test_what_a_dead_worker_left_is_taken_up_again_but_not_from_a_living_one():
    now = clock.now()
    bundle = sent_bundle(bundle_command(), GOOD)
    SupportBundle.objects.filter(pk=bundle.pk).update(
        status="processing", tries=1, processing_since=now - timedelta(minutes=1)
    )
    worker = connection.copy()
    try:
        with worker.cursor() as cursor:
            key = [processing._LOCKS, bundle.pk.int % 2**31]
            cursor.execute("SELECT pg_advisory_lock(%s, %s)", key)
            cursor.execute("SELECT pg_backend_pid()")
            (session,) = cursor.fetchone()
        assert bundles_recover(now=now) == 0
    finally:
        # Closing alone lets go of the lock a moment later: this waits until the session is gone.
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(%s, 10000)", [session])
        worker.close()

    assert bundles_recover(now=now) == 1
    bundle.refresh_from_db()
    assert bundle.status == "quarantined"


def test_one_whose_workers_died_three_times_is_refused():
    now = clock.now()
    bundle = sent_bundle(bundle_command(), GOOD)
    SupportBundle.objects.filter(pk=bundle.pk).update(
        status="processing", tries=3, processing_since=now - timedelta(minutes=1)
    )

    assert bundles_recover(now=now) == 1
    bundle.refresh_from_db()
    assert bundle.status == "refused"


def test_what_was_kept_long_enough_goes_with_its_files(django_capture_on_commit_callbacks: Any):
    now = clock.now()
    device = DeviceFactory()
    old = kept_bundle(bundle_command(device=device), {"a": "1\n"}, expires_at=now)
    new = kept_bundle(bundle_command(device=device), {"a": "2\n"})
    stale = sent_bundle(ended_command(device=device), GOOD)
    SupportBundle.objects.filter(pk=stale.pk).update(status="uploading")
    with django_capture_on_commit_callbacks(execute=True):
        told = bundles_retire(now=now)

    assert told["bundles"] == 2
    assert list(SupportBundle.objects.values_list("pk", flat=True)) == [new.pk]
    assert old.file.name not in files_in("")
    assert len(files_in("")) == 1
    assert AuditEntry.objects.get(action="bundle.retire").after["count"] == 2


def test_over_the_quota_the_oldest_go_and_the_last_good_one_of_a_device_last():
    now = clock.now()
    device = DeviceFactory()
    organization = device.organization
    organization.bundle_quota_mb = 2
    organization.save()
    good = kept_bundle(bundle_command(device=device), {"a": "1\n"}, device_health="healthy")
    bad = [kept_bundle(bundle_command(device=device), {"a": "1\n"}) for _ in range(3)]
    SupportBundle.objects.update(kept_size=1024 * 1024)

    assert bundles_retire(now=now)["bundles"] == 2
    left = set(SupportBundle.objects.values_list("pk", flat=True))
    assert left == {good.pk, bad[2].pk}


def test_files_nobody_names_are_swept_and_fresh_ones_are_not(tmp_path: Path):
    bundle = kept_bundle(bundle_command(), {"a": "1\n"})
    (tmp_path / "bundles").mkdir(exist_ok=True)
    (tmp_path / "bundles" / "stray").write_bytes(b"x")

    assert strays_remove(now=clock.now()) == 0
    assert strays_remove(now=clock.now() + timedelta(hours=2)) == 1
    assert default_storage.exists(bundle.file.name)
