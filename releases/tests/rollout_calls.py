"""Planning and driving rollouts in tests, and doing what devices would."""

from datetime import datetime, timedelta
from typing import Any

from rest_framework.test import APIClient

from accounts.models import Organization
from audit.models import AuditEntry
from common import clock
from devices.models import Device, DeviceState
from devices.tests.factories import DeviceFactory
from releases.models import DeviceUpdate, Release, RolloutStage
from releases.tests.factories import ArtifactFactory, ReleaseFactory, published, vouched

URL = "/api/v1/rollouts"


def ready_release(organization: Organization, **fields: Any) -> Release:
    """Return a published release with a bundle for every role."""
    counter = Release.objects.filter(organization=organization).count() + 1
    release = ReleaseFactory(organization=organization, **fields)
    ArtifactFactory(release=release)
    return vouched(published(release, counter=counter))


def fleet(organization: Organization, count: int, segment: str, **fields: Any) -> list[Device]:
    return [
        DeviceFactory(
            organization=organization,
            device_id=f"{segment}-{number:03}",
            segment=segment,
            state__version="0.9.0",
            state__commit="abcdef0",
            state__health="healthy",
            **fields,
        )
        for number in range(count)
    ]


def planned(api: APIClient, release: Release, **plan: Any) -> dict[str, Any]:
    """Make a draft; return it."""
    plan.setdefault("selection", {"all": True})
    answer = api.post(URL, {"release": release.version, **plan})
    assert answer.status_code == 201, answer.json()
    body: dict[str, Any] = answer.json()
    return body


def act(api: APIClient, rollout: dict[str, Any], verb: str, **body: Any) -> dict[str, Any]:
    answer = api.post(f"{URL}/{rollout['id']}/{verb}", body)
    assert answer.status_code == 200, answer.json()
    told: dict[str, Any] = answer.json()
    return told


def started(api: APIClient, release: Release, **plan: Any) -> dict[str, Any]:
    return act(api, planned(api, release, **plan), "start")


def read(api: APIClient, rollout: dict[str, Any]) -> dict[str, Any]:
    body: dict[str, Any] = api.get(f"{URL}/{rollout['id']}").json()
    return body


def updates(**fields: Any) -> list[DeviceUpdate]:
    rows = DeviceUpdate.objects.filter(**fields).select_related("device")
    return list(rows.order_by("pk"))


def verify(*rows: DeviceUpdate) -> None:
    """Let updates end well, with the device running what it was given."""
    now = clock.now()
    for row in rows:
        DeviceUpdate.objects.filter(pk=row.pk).update(status="claimed", claimed_at=now)
        DeviceUpdate.objects.filter(pk=row.pk).update(status="verified", finished_at=now)
        DeviceState.objects.filter(device=row.device_id).update(version=row.to_version)


def fail(*rows: DeviceUpdate, failure_class: str = "install") -> None:
    now = clock.now()
    for row in rows:
        DeviceUpdate.objects.filter(pk=row.pk).update(
            status="failed", finished_at=now, failure_class=failure_class
        )


def soaked(rollout: dict[str, Any], since: datetime | None = None) -> None:
    """Let the soak time of the open stages have passed."""
    since = since or clock.now() - timedelta(days=60)
    stages = RolloutStage.objects.filter(rollout=rollout["id"], opened_at__isnull=False)
    stages.update(soaking_since=since)


def actions() -> list[str]:
    rows = AuditEntry.objects.filter(action__startswith="rollout.").order_by("seq")
    return [row.action for row in rows]
