"""Updates with the real trust store: what nobody signed never runs, whatever the portal says."""

from __future__ import annotations

import json

import pytest
from test_agent_updates import end_of, running
from trust_device import TrustDevice
from tuf_repository import TufRepository


@pytest.fixture
def repository():
    made = TufRepository()
    made.start()
    yield made
    made.stop()


@pytest.fixture
def device(make_device, repository, tmp_path):
    made = make_device()
    made.trust = TrustDevice(tmp_path / "trusting", repository).store
    made.restart()
    return made


def sign(repository, release):
    repository.put("general", release.target_path, json.dumps(release.manifest).encode())
    repository.publish("general")


def test_a_release_that_the_organisations_keys_vouch_for_is_installed(device, portal, repository):
    release = device.release("2.0.0")
    sign(repository, release)

    update_id = portal.updates.offer_release(release)
    device.turn()

    assert end_of(portal, update_id)[0] == "claimed"
    assert running(device) == "2.0.0"


def test_a_release_nobody_has_signed_is_not_even_fetched(device, portal, repository):
    sign(repository, device.release("1.0.0"))

    update_id = portal.updates.offer_release(device.release("2.0.0"))
    device.turn()

    assert end_of(portal, update_id) == ("failed", "verification", "not_found")
    assert portal.updates.ranges == []
    assert running(device) == ""


def test_a_portal_that_swaps_the_bundle_and_its_own_offer_gets_nowhere(device, portal, repository):
    release = device.release("2.0.0")
    sign(repository, release)
    other = device.release("2.0.0", files={"app/version.txt": b"stolen"})

    update_id = portal.updates.offer_release(other)
    device.turn()

    assert end_of(portal, update_id) == ("failed", "verification", "other_release")
    assert running(device) == ""


def test_a_step_back_that_was_never_here_is_refused_and_one_that_was_is_taken(
    device, portal, repository
):
    never, old = device.release("0.9.0", counter=1), device.release("1.0.0", counter=2)
    new = device.release("2.0.0", counter=3)
    for release in (never, old, new):
        sign(repository, release)
    device.install(old)
    device.install(new)

    refused = portal.updates.offer_release(never, kind="rollback")
    device.turn()
    assert end_of(portal, refused) == ("failed", "verification", "rollback")

    taken = portal.updates.offer_release(old, kind="rollback")
    device.turn()
    assert end_of(portal, taken)[0] == "claimed"
    assert running(device) == "1.0.0"
