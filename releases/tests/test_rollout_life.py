"""A rollout's life: planned, started, advanced stage by stage, held, stopped, done."""

from rest_framework.test import APIClient

from accounts.models import Organization
from devices.models import Device
from releases.tasks import rollouts_advance
from releases.tests.rollout_calls import (
    URL,
    fleet,
    read,
    ready_release,
    soaked,
    started,
    updates,
    verify,
)


def test_a_rollout_goes_from_canary_to_general_and_completes(
    admin_api: APIClient, organization: Organization
):
    fleet(organization, 2, "canary")
    fleet(organization, 1, "early")
    fleet(organization, 2, "general")
    release = ready_release(organization)

    rollout = started(admin_api, release, auto_promote=True)
    for segment, count in (("canary", 2), ("early", 1), ("general", 2)):
        rollouts_advance()
        made = updates(segment=segment)
        assert [row.status for row in made] == ["scheduled"] * count
        assert updates().__len__() == len(updates(status="verified")) + count
        verify(*made)
        rollouts_advance()
        soaked(rollout)
        rollouts_advance()

    told = read(admin_api, rollout)
    assert (told["status"], told["progress"]["by_state"]) == ("completed", {"verified": 5})
    first = updates()[0]
    assert (first.from_version, first.from_commit, first.to_version, first.kind) == (
        "0.9.0", "abcdef0", release.version, "rollout",
    )  # fmt: skip
    assert first.artifact == release.artifacts.get()
    assert first.deadline_at is None
    assert Device.objects.filter(target_version=release.version).count() == 5
    kinds = [
        one["kind"] for one in admin_api.get(f"{URL}/{rollout['id']}/events").json()["results"]
    ]
    assert kinds[::-1][:3] == ["created", "stage_opened", "started"]
    assert kinds[0] == "completed"


def test_a_stranger_sees_no_rollout(
    admin_api: APIClient, stranger_api: APIClient, organization: Organization
):
    fleet(organization, 1, "canary")
    release = ready_release(organization)
    rollout = started(admin_api, release)

    assert stranger_api.get(URL).json()["results"] == []
    assert stranger_api.get(f"{URL}/{rollout['id']}").status_code == 404
    assert stranger_api.post(f"{URL}/{rollout['id']}/pause").status_code == 404
    assert stranger_api.post(URL, {"release": release.version}).status_code in (404, 422)
    assert stranger_api.post(f"/api/v1/releases/{release.version}/pause").status_code == 404


def test_eligibility_names_the_gate_a_device_waits_at(
    admin_api: APIClient, device_api: APIClient, device: Device, organization: Organization
):
    release = ready_release(organization)
    url = f"/api/v1/releases/{release.version}/eligibility/{device.device_id}"
    started(admin_api, release, stages=[{"segment": "general"}])

    assert device_api.get(url).json()["eligible"] is True
    Device.objects.filter(pk=device.pk).update(maintenance_mode=True)
    told = device_api.get(url).json()

    assert told["eligible"] is False
    assert [gate["gate"] for gate in told["gates"] if not gate["passed"]] == ["maintenance"]
    assert [gate["gate"] for gate in told["gates"]] == [
        "release", "role", "artifact", "trust", "rollout", "target", "holdback", "lifecycle",
        "safe_mode", "quarantine", "maintenance", "update_enabled", "version_lock", "running",
        "tried", "other_update", "stage", "percentage", "calendar", "window", "blackout", "rate",
        "concurrency",
    ]  # fmt: skip
    assert admin_api.get(url).json() == told
