"""The ten threats Uptane names, against an agent that runs a release and is offered another.

Each is refused, what runs goes on, and the portal is told why; that the device believes an honest
portal again afterwards is in test_agent_trust_threats.py.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from test_agent_trust_threats import THREATS, answer
from test_agent_updates import end_of, running
from trust_device import TOKEN, TrustDevice
from tuf_repository import TufRepository

CASES = [
    *THREATS,
    ("freeze", "timestamp", lambda repository, device: repository.expire("timestamp"), "freeze"),
    ("eavesdropping", "redirect", answer("{timestamp}", 302), "network"),
]
# Whatever comes of it comes later than the update may take.
NO_MORE_TRIES_S = 1000.0


@pytest.fixture
def repository():
    made = TufRepository()
    made.start()
    yield made
    made.stop()


@pytest.fixture
def trusting(tmp_path: Path, repository: TufRepository) -> TrustDevice:
    return TrustDevice(tmp_path / "trusting", repository)


@pytest.fixture
def device(make_device, trusting, repository, monkeypatch):
    """A device on which 0.9.0 runs, signed as every release is."""
    monkeypatch.setattr(
        "fleet_agent.updates.preparation.Backoff.delay_s", lambda *_: NO_MORE_TRIES_S
    )
    made = make_device()
    made.trust = trusting.store
    made.restart()
    old = made.release("0.9.0")
    sign(repository, old)
    made.install(old)
    return made


def sign(repository, release):
    repository.put("general", release.target_path, json.dumps(release.manifest).encode())
    repository.publish("general")


@pytest.mark.parametrize(
    ("attack", "code"),
    [one[2:] for one in CASES],
    ids=[f"{threat}-{way}" for threat, way, _, _ in CASES],
)
def test_a_threat_is_refused_told_and_leaves_what_runs(
    device, portal, repository, trusting, attack, code
):
    release = device.release("1.0.0", counter=2)
    sign(repository, release)
    attack(repository, trusting)
    trusting.restart(budget_s=0.3 if code == "slow_retrieval" else 20.0)
    device.trust = trusting.store
    fetched = len(portal.updates.ranges)

    update_id = portal.updates.offer_release(release)
    device.turn()

    failure_class = "network" if code == "network" else "verification"
    assert end_of(portal, update_id) == ("failed", failure_class, code)
    assert portal.updates.ends[update_id]["error"]
    assert running(device) == "0.9.0"
    assert len(portal.updates.ranges) == fetched
    assert set(repository.tokens) == {TOKEN}


@pytest.mark.parametrize(
    "fields",
    [
        {"release_id": "../../etc"},
        {"target_path": None, "bundle": None},
        {"version": "x" * 65},
        {"version": ["1.0.0"]},
    ],
)
def test_an_offer_nobody_can_read_is_refused_and_told(device, portal, fields):
    update_id = portal.updates.offer_release(device.release("1.0.0", counter=2), **fields)

    device.turn()

    assert end_of(portal, update_id) == ("failed", "verification", "malformed")
    assert running(device) == "0.9.0"


def test_a_path_of_another_kind_is_no_way_around_the_keys_of_general(device, portal, repository):
    release = device.release("1.0.0", counter=2)
    repository.put(
        "staged", "staged/any/1.0.0/manifest.json", json.dumps(release.manifest).encode()
    )
    repository.publish("staged")

    update_id = portal.updates.offer_release(release, target_path="staged/any/1.0.0/manifest.json")
    device.turn()

    assert end_of(portal, update_id) == ("failed", "refused", "not_allowed")
    assert running(device) == "0.9.0"
