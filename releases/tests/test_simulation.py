"""Looking at a plan before it starts: exact devices, bytes per site, moments from last week."""

from datetime import timedelta

from rest_framework.test import APIClient

from accounts.models import Organization
from common import clock
from common.db import fetch_one
from devices.models import Device, Heartbeat
from devices.tests.factories import DeviceFactory
from releases.models import SiteCalendar
from releases.tests.rollout_calls import URL, fleet, planned, ready_release, started


def there(device: Device, *hours_ago: int) -> None:
    """Let a device have been there so many hours ago."""
    fetch_one(
        "SELECT devices_heartbeat_partitions(%s, 9)", [clock.now().date() - timedelta(days=8)]
    )
    for hours in hours_ago:
        at = clock.now() - timedelta(hours=hours)
        Heartbeat.objects.create(
            device=device, organization_id=device.organization_id, at=at, received_at=at,
            health="healthy",
        )  # fmt: skip


def test_devices_are_counted_by_stage_with_the_gate_they_would_wait_at(
    admin_api: APIClient, organization: Organization
):
    fleet(organization, 2, "canary", site="north")
    DeviceFactory(
        organization=organization, segment="canary", safe_mode=True, maintenance_mode=True
    )
    DeviceFactory(organization=organization, segment="general", version_lock="0.9.0")
    release = ready_release(organization)
    rollout = planned(admin_api, release)

    told = admin_api.get(f"{URL}/{rollout['id']}/simulation?segment=canary").json()

    canary, early, general = told["stages"]
    assert (told["total"], told["is_frozen"], told["difference"]) == (4, False, None)
    assert (canary["devices"], canary["ready"]) == (3, 2)
    assert canary["blocked"] == [{"gate": "safe_mode", "devices": 1}]
    assert general["blocked"] == [{"gate": "version_lock", "devices": 1}]
    assert early["devices"] == 0
    size = release.artifacts.get().size
    assert told["sites"] == [{"site": "north", "devices": 2, "bytes": 2 * size}]
    buckets = [one["bucket"] for one in told["devices"]]
    assert len(buckets) == 3
    assert buckets == sorted(buckets)


def test_a_device_that_is_away_is_expected_when_it_was_there_last_week(
    admin_api: APIClient, organization: Organization
):
    (device,) = fleet(organization, 1, "canary")
    Device.objects.filter(pk=device.pk).update(heartbeat_interval_s=60)
    device.state.health = "offline"
    device.state.save()
    # Six days and some hours ago: in 20 hours, a week later.
    there(device, 7 * 24 - 20)
    release = ready_release(organization)
    body = {"release": release.version, "stages": [{"segment": "canary", "soak_minutes": 30}]}

    (stage,) = admin_api.post(f"{URL}/simulate", body).json()["stages"]

    hours = (clock.now() + timedelta(hours=20)).isoformat()[:10]
    assert stage["finishes_at"][:10] == hours
    assert stage["soak_ends_at"] > stage["soaks_at"]


def test_a_device_nobody_heard_of_is_not_expected(admin_api: APIClient, organization: Organization):
    DeviceFactory(organization=organization, segment="canary")
    release = ready_release(organization)

    told = admin_api.post(f"{URL}/simulate", {"release": release.version}).json()

    assert told["stages"][0]["finishes_at"] is None
    assert told["stages"][1]["starts_at"] is None
    assert len(told["assumptions"]) == 5


def test_a_closed_site_and_a_rate_put_the_end_off(admin_api: APIClient, organization: Organization):
    fleet(organization, 3, "canary", site="north")
    release = ready_release(organization)
    body = {"release": release.version, "stages": [{"segment": "canary"}]}

    def ends(**more: object) -> str:
        answer = admin_api.post(f"{URL}/simulate", {**body, **more}).json()
        return str(answer["stages"][0]["finishes_at"])

    soon = ends()
    slower = ends(rate_per_minute=1, concurrency=1)
    assert soon < slower
    SiteCalendar.objects.create(
        organization=organization,
        site="north",
        created_at=clock.now(),
        blackouts=[{"from": "2020-01-01T00:00:00+00:00", "to": "2090-01-01T00:00:00+00:00"}],
    )
    assert ends() == "None"
    assert ends(use_calendars=False) < slower


def test_what_changed_since_the_freeze_is_told_and_so_are_rollouts_of_others(
    admin_api: APIClient, organization: Organization
):
    fleet(organization, 1, "canary", tags=["a"])
    gone = DeviceFactory(organization=organization, segment="canary", tags=["a"])
    first = started(admin_api, ready_release(organization, version="1.5.0"))
    rollout = started(admin_api, ready_release(organization), selection={"tags": ["a"]})
    Device.objects.filter(pk=gone.pk).update(tags=[])
    new = DeviceFactory(organization=organization, segment="early", tags=["a"])

    told = admin_api.get(f"{URL}/{rollout['id']}/simulation").json()

    assert told["difference"] == {
        "joined": 1, "left": 1, "joined_devices": [new.device_id],
        "left_devices": [gone.device_id],
    }  # fmt: skip
    assert [(one["rollout_id"], one["devices"]) for one in told["conflicts"]] == [(first["id"], 2)]


def test_a_preview_counts_and_a_stranger_sees_nothing(
    admin_api: APIClient, stranger_api: APIClient, organization: Organization
):
    fleet(organization, 2, "canary")
    release = ready_release(organization)
    rollout = planned(admin_api, release)

    told = admin_api.post(f"{URL}/preview", {"release": release.version}).json()

    assert (told["count"], told["by_segment"]) == (2, {"canary": 2})
    assert stranger_api.get(f"{URL}/{rollout['id']}/simulation").status_code == 404
    body = {"release": release.version}
    assert stranger_api.post(f"{URL}/preview", body).status_code == 404
    assert stranger_api.post(f"{URL}/simulate", body).status_code == 404
