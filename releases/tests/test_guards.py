"""What the database itself refuses, whoever writes."""

import pytest
from django.db import DatabaseError, transaction
from django.db.models import Model

from common import clock
from devices.models import Device
from devices.tests.factories import DeviceFactory
from releases.models import ENDED, MOVES, OPEN, DeviceUpdate, Release, UpdateEvent
from releases.tests.factories import (
    ArtifactFactory,
    DeviceUpdateFactory,
    ReleaseFactory,
    RolloutTargetFactory,
    published,
)

pytestmark = pytest.mark.django_db


def refused(row: Model, **changes: object) -> bool:
    try:
        with transaction.atomic():
            type(row)._default_manager.filter(pk=row.pk).update(**changes)
    except DatabaseError:
        return True
    return False


@pytest.mark.parametrize("changes", [{"commit": "f" * 40}, {"version": "2"}])
def test_version_and_commit_of_a_draft_never_change(changes: dict[str, str]):
    assert refused(ReleaseFactory(), **changes)


@pytest.mark.parametrize(
    "changes",
    [{"roles": ["x"]}, {"channel": "beta"}, {"changelog": "y"}, {"counter": 9}, {"state": "draft"}],
)
def test_a_published_release_never_changes(changes: dict[str, object]):
    assert refused(published(ReleaseFactory()), **changes)


def test_a_published_release_keeps_its_bundles_and_itself():
    artifact = ArtifactFactory()
    release = published(artifact.release)

    assert refused(artifact, sha256="0" * 64)
    for row in (artifact, release):
        with pytest.raises(DatabaseError), transaction.atomic():
            row.delete()
    with pytest.raises(DatabaseError), transaction.atomic():
        ArtifactFactory(release=release, role="other")
    assert not refused(artifact, status="removed", removed_at=clock.now())


def test_every_step_of_an_update_is_allowed_or_refused_as_the_table_says():
    now = clock.now()
    wrong = []
    for old in DeviceUpdate.Status.values:
        for new in set(DeviceUpdate.Status.values) - {old}:
            ended = {"finished_at": now} if old in ENDED else {}
            update = DeviceUpdateFactory(status=old, claimed_at=now, **ended)
            time = {"finished_at": now if new in ENDED else None}
            if refused(update, status=new, **time) == (new in MOVES.get(old, [])):
                wrong.append((old, new))
            if DeviceUpdate.objects.filter(pk=update.pk, status=old).exists():
                DeviceUpdate.objects.filter(pk=update.pk).delete()
    assert wrong == []
    assert set(OPEN) | set(ENDED) == set(DeviceUpdate.Status.values)


def test_a_device_has_one_open_update_at_most():
    first = DeviceUpdateFactory()

    with pytest.raises(DatabaseError), transaction.atomic():
        DeviceUpdateFactory(device=first.device, release=first.release)


def test_nothing_of_a_rollout_points_into_another_organisation():
    rollout = RolloutTargetFactory().rollout
    stranger = DeviceFactory()

    def point_across() -> None:
        RolloutTargetFactory(rollout=rollout, device=stranger)
        transaction.get_connection().check_constraints()

    with pytest.raises(DatabaseError), transaction.atomic():
        point_across()


def test_the_trail_of_an_update_writes_itself():
    update = DeviceUpdateFactory()
    DeviceUpdate.objects.filter(pk=update.pk).update(status="offered", step="fetch")

    trail = UpdateEvent.objects.filter(update=update).order_by("id")

    assert list(trail.values_list("from_status", "to_status", "step")) == [
        ("", "scheduled", ""),
        ("scheduled", "offered", "fetch"),
    ]


def test_a_device_sees_published_releases_only(device: Device):
    draft = ReleaseFactory(organization=device.organization)
    out = published(ReleaseFactory(organization=device.organization))

    class Asker:
        kind, limited, sees_all = "device", False, False
        organization_id = device.organization_id
        id = device.pk

    seen = Release.objects.visible_to(Asker())  # type: ignore[arg-type]

    assert out in seen
    assert draft not in seen
