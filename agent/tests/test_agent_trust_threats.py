"""The ten threats Uptane names, and stolen keys: each is refused, and why is reported."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import time_machine
from trust_device import TOKEN, TrustDevice
from tuf.api.metadata import TargetFile
from tuf_repository import COMMIT, TufRepository, manifest, signer

from fleet_agent.updates.manifest import Installed, Offered
from fleet_agent.updates.trust_errors import TrustError
from fleet_agent.updates.watch import TrustWatch

Attack = Callable[[TufRepository, TrustDevice], None]
PATH = "general/any/1.0.0/manifest.json"


@pytest.fixture
def repository() -> Iterator[TufRepository]:
    made = TufRepository()
    made.add("1.0.0")
    made.publish(*made.roles)
    made.start()
    yield made
    made.stop()


@pytest.fixture
def device(tmp_path: Path, repository: TufRepository) -> TrustDevice:
    return TrustDevice(tmp_path, repository)


def target_file(repository: TufRepository, path: str = PATH) -> str:
    """Return the name of the file of a manifest."""
    digest = repository.roles[path.split("/")[0]].targets[path].hashes["sha256"]
    folder, _, name = path.rpartition("/")
    return f"{folder}/{digest}.{name}"


def answer(name: str, content: object) -> Attack:
    """Answer a file by something else; {role} stands for the newest file of a role."""

    def attack(repository: TufRepository, device: TrustDevice) -> None:
        role = name.strip("{}")
        found = target_file(repository) if role == "target" else repository.name(role)
        repository.answers[found] = content  # type: ignore[assignment]

    return attack


def old_timestamp(repository: TufRepository, device: TrustDevice) -> None:
    before = repository.files["timestamp.json"]
    repository.publish_timestamp()
    device.ask()
    repository.answers["timestamp.json"] = before


def old_general(repository: TufRepository, device: TrustDevice) -> None:
    """An older list of releases, in a snapshot that is newer: the online key was stolen."""
    repository.publish("general")
    device.ask()
    repository.roles["general"].version -= 1
    repository.publish()


def truncated(repository: TufRepository, device: TrustDevice) -> None:
    name = target_file(repository)
    repository.answers[name] = repository.files[name][:-20]


def mixed(repository: TufRepository, device: TrustDevice) -> None:
    """The list of before in the place of the one the snapshot names."""
    before = repository.files[repository.name("general")]
    repository.publish("general")
    repository.answers[repository.name("general")] = before


def mixed_snapshot(repository: TufRepository, device: TrustDevice) -> None:
    before = repository.files[repository.name("snapshot")]
    repository.publish("general")
    repository.answers[repository.name("snapshot")] = before


def swapped(repository: TufRepository, device: TrustDevice) -> None:
    """Another manifest of the same length."""
    name = target_file(repository)
    repository.answers[name] = repository.files[name].replace(b"acme", b"evil")


def foreign_keys(repository: TufRepository, device: TrustDevice) -> None:
    stranger = signer()
    repository.signed = {role: [stranger] for role in ("timestamp", "snapshot", "general")}
    repository.publish("general")


def foreign_repository(repository: TufRepository, device: TrustDevice) -> None:
    """A whole other repository with a root of its own, behind the same address."""
    device.ask()
    other = TufRepository()
    other.add("1.0.0")
    other.publish("root", *other.roles)
    repository.files = other.files


THREATS: list[tuple[str, str, Attack, str]] = [
    ("drop_request", "connection", answer("{timestamp}", "drop"), "network"),
    ("drop_request", "not_found", answer("{timestamp}", 404), "not_found"),
    ("slow_retrieval", "metadata", answer("{timestamp}", "drip"), "slow_retrieval"),
    ("slow_retrieval", "manifest", answer("{target}", "drip"), "slow_retrieval"),
    ("partial_bundle", "missing_manifest", answer("{target}", 404), "not_found"),
    ("partial_bundle", "missing_list", answer("{general}", 404), "not_found"),
    ("partial_bundle", "truncated", truncated, "content"),
    ("denial_of_service", "overload", answer("{timestamp}", 503), "network"),
    ("denial_of_service", "log_in_page", answer("{timestamp}", b"<html>"), "malformed"),
    ("rollback", "timestamp", old_timestamp, "rollback"),
    ("rollback", "list_of_releases", old_general, "rollback"),
    ("endless_data", "timestamp", answer("{timestamp}", "endless"), "endless_data"),
    ("endless_data", "snapshot", answer("{snapshot}", "endless"), "endless_data"),
    ("endless_data", "manifest", answer("{target}", "endless"), "endless_data"),
    ("mix_and_match", "list_of_releases", mixed, "mix_and_match"),
    ("mix_and_match", "snapshot", mixed_snapshot, "mix_and_match"),
    ("arbitrary_software", "manifest", swapped, "content"),
    ("arbitrary_software", "foreign_keys", foreign_keys, "signature"),
    ("arbitrary_software", "foreign_repository", foreign_repository, "signature"),
]


@pytest.mark.parametrize(
    ("attack", "code"),
    [one[2:] for one in THREATS],
    ids=[f"{threat}-{way}" for threat, way, _, _ in THREATS],
)
def test_a_threat_is_refused_and_the_device_believes_again_afterwards(
    repository: TufRepository, device: TrustDevice, attack: Attack, code: str
) -> None:
    honest = dict(repository.files)
    attack(repository, device)
    device.restart(budget_s=0.5 if code == "slow_retrieval" else 20.0)

    assert device.refused() == code

    repository.answers.clear()
    repository.signed.clear()
    repository.files = honest
    repository.publish("general", "staged")
    assert device.ask().version == "1.0.0"


def test_freeze_a_repository_that_stands_still_is_refused_after_a_day(
    repository: TufRepository, device: TrustDevice
) -> None:
    device.ask()

    with (
        time_machine.travel(repository.timestamp.expires + timedelta(minutes=1)),
        pytest.raises(TrustError, match=r"timestamp\.json has expired") as refusal,
    ):
        device.ask()
    assert refusal.value.code == "freeze"


def test_freeze_an_attacker_cannot_hold_back_the_snapshot(
    repository: TufRepository, device: TrustDevice
) -> None:
    """Whoever has the timestamp's key alone: the snapshot of last week expires."""
    device.ask()

    with time_machine.travel(repository.snapshot.expires + timedelta(minutes=1)):
        repository.timestamp.expires = repository.snapshot.expires + timedelta(days=1)
        repository.publish_timestamp()
        assert device.refused() == "freeze"


def test_freeze_is_noticed_without_any_offer_until_it_is_over(
    repository: TufRepository, device: TrustDevice
) -> None:
    device.ask()

    with time_machine.travel(repository.timestamp.expires + timedelta(minutes=1)):
        watch = TrustWatch(lambda: device.store, first_s=0, again_s=0)
        watch.look()
        assert watch.trouble.startswith("signed metadata is refused (freeze): ")

        repository.timestamp.expires += timedelta(days=2)
        repository.publish_timestamp()
        watch.look()
        assert not watch.trouble


def test_a_new_root_is_followed_without_any_offer(
    repository: TufRepository, device: TrustDevice
) -> None:
    device.ask()
    repository.publish("root")

    TrustWatch(lambda: device.store, first_s=0).look()

    assert json.loads(device.cached("root"))["signed"]["version"] == repository.root.version


def test_nothing_is_said_of_a_repository_that_cannot_be_reached(
    repository: TufRepository, device: TrustDevice
) -> None:
    device.ask()
    repository.stop()
    watch = TrustWatch(lambda: device.store, first_s=0)

    watch.look()

    assert not watch.trouble


def test_eavesdropping_gets_no_token_through_a_redirect(
    repository: TufRepository, device: TrustDevice
) -> None:
    """What is signed is no secret; the token is, and it goes to the portal only."""
    repository.answers["root.json"] = 302

    assert device.refused() == "network"
    assert repository.tokens == [TOKEN]


# --- stolen keys ---


def test_the_online_key_cannot_sign_general(repository: TufRepository, device: TrustDevice) -> None:
    repository.add("6.6.6")
    repository.signed["general"] = [repository.online]
    repository.publish("general")

    assert device.refused("6.6.6") == "signature"


def test_the_online_key_cannot_name_other_keys_for_general(
    repository: TufRepository, device: TrustDevice
) -> None:
    device.ask()
    repository.general_keys = [repository.online, signer(), signer()]
    repository.name_keys()
    repository.signed["targets"] = [repository.online]
    repository.add("6.6.6")
    repository.publish("targets", "general")

    assert device.refused("6.6.6") == "signature"


def test_the_online_key_cannot_bring_a_general_path_in_through_staged(
    repository: TufRepository, device: TrustDevice
) -> None:
    path = "general/any/6.6.6/manifest.json"
    repository.put("staged", path, json.dumps(manifest("6.6.6")).encode())
    repository.publish("staged")

    assert device.refused("6.6.6") == "not_found"


def test_one_of_three_keys_of_general_is_not_enough_and_two_are(
    repository: TufRepository, device: TrustDevice
) -> None:
    repository.add("2.0.0")
    repository.signed["general"] = repository.general_keys[2:]
    repository.publish("general")
    assert device.refused("2.0.0") == "signature"

    repository.signed["general"] = repository.general_keys[1:]
    repository.publish("general")
    assert device.ask("2.0.0").version == "2.0.0"


def test_one_key_of_general_does_not_count_twice(
    repository: TufRepository, device: TrustDevice
) -> None:
    repository.add("2.0.0")
    repository.signed["general"] = repository.general_keys[:1]
    repository.roles["general"].version += 1

    def twice(record: dict) -> None:
        record["signatures"] *= 2

    repository.write("general", twice)
    repository.publish()

    assert device.refused("2.0.0") == "malformed"


def test_new_custodians_are_followed_when_the_old_ones_agree(
    repository: TufRepository, device: TrustDevice
) -> None:
    device.ask()
    old = repository.custodians
    repository.custodians = [signer() for _ in range(3)]
    repository.name_keys()
    repository.signed["root"] = [*old[:2], *repository.custodians[:2]]
    repository.publish("root", "targets")

    assert device.ask().version == "1.0.0"
    assert (device.state_dir / "trust/root.json").read_bytes() == repository.files["2.root.json"]


@pytest.mark.parametrize(("old", "new"), [(0, 2), (1, 2), (2, 0), (2, 1)])
def test_new_custodians_are_refused_without_either_threshold(
    repository: TufRepository, device: TrustDevice, old: int, new: int
) -> None:
    device.ask()
    before = repository.custodians
    repository.custodians = [signer() for _ in range(3)]
    repository.name_keys()
    repository.signed["root"] = [*before[:old], *repository.custodians[:new]]
    repository.publish("root", "targets")

    assert device.refused() == "signature"


def test_after_a_fast_forward_with_the_stolen_online_key_devices_recover(
    repository: TufRepository, device: TrustDevice
) -> None:
    """The thief makes every honest version look old; new keys in the root end that."""
    honest = (repository.timestamp.version, repository.snapshot.version)
    repository.timestamp.version = repository.snapshot.version = 10**6
    repository.roles["staged"].version = 10**6
    repository.publish("staged")
    device.ask()

    repository.timestamp.version, repository.snapshot.version = honest
    repository.roles["staged"].version = 1
    repository.publish("staged")
    assert device.refused() == "rollback"

    repository.online = signer()
    repository.name_keys()
    repository.publish("root", "targets", "staged")
    assert device.ask().version == "1.0.0"


# --- what this device allows, and what was offered ---


def test_only_a_device_of_staged_takes_what_staged_vouches_for(
    tmp_path: Path, repository: TufRepository, device: TrustDevice
) -> None:
    assert device.refused(trust="staged") == "not_allowed"
    assert repository.asked == []

    canary = TrustDevice(tmp_path / "canary", repository, trust="staged")
    assert canary.ask(trust="staged").version == "1.0.0"
    assert canary.ask(trust="general").version == "1.0.0"


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"organization": "globex"}, "other_organization"),
        ({"role": "kiosk"}, "other_release"),
        ({"version": "2.0.0"}, "other_release"),
        ({"commit": "f" * 40}, "other_release"),
        ({"bundle": {"size": 11, "sha256": "ab" * 32}}, "other_release"),
        ({"bundle": {"size": 10, "sha256": "00" * 32}}, "other_release"),
        ({"expires": "2026-01-02T00:00:00+00:00"}, "expired"),
        ({"counter": 9}, "rollback"),
        ({"format": 2}, "malformed"),
        ({"files": [{"path": "../x", "sha256": "cd" * 32, "size": 1, "mode": 420}]}, "malformed"),
        ({"files": [{"path": "/x", "sha256": "cd" * 32, "size": 1, "mode": 420}]}, "malformed"),
        ({"files": "all"}, "malformed"),
        ({"counter": -1}, "malformed"),
        ({"commit": None}, "malformed"),
        ({"created_at": "yesterday"}, "malformed"),
    ],
)
def test_a_signed_manifest_that_is_not_for_this_is_refused(
    repository: TufRepository, device: TrustDevice, fields: dict, code: str
) -> None:
    device.ask()
    repository.put(
        "general",
        "general/any/3.0.0/manifest.json",
        json.dumps(manifest("3.0.0") | fields).encode(),
    )
    repository.publish("general")
    offered = Offered(
        manifest("3")["commit"] and "3.0.0", manifest("3")["commit"], "any", 10, "ab" * 32
    )

    code_seen = device.refused("3.0.0", offered=offered, installed=Installed(counter=10))

    assert code_seen == code


def test_a_release_that_ran_here_before_may_come_back(
    repository: TufRepository, device: TrustDevice
) -> None:
    before = frozenset({("1.0.0", COMMIT)})

    assert device.refused(installed=Installed(counter=11)) == "rollback"
    assert device.ask(installed=Installed(counter=11, before=before)).counter == 10


@pytest.mark.parametrize(
    "path",
    [
        "general/any/manifest.json",
        "general/any/1.0.0/other.json",
        "general/any/../manifest.json",
        "general//1.0.0/manifest.json",
        "/general/any/1.0.0/manifest.json",
        "general/a\nb/1.0.0/manifest.json",
        "",
    ],
)
def test_what_is_no_path_of_a_manifest_is_never_asked_for(
    repository: TufRepository, device: TrustDevice, path: str
) -> None:
    device.ask()
    asked = len(repository.asked)

    with pytest.raises(Exception, match="no path of a manifest"):
        device.store.manifest(path)

    assert len(repository.asked) == asked


def test_an_unlisted_target_is_not_found(repository: TufRepository, device: TrustDevice) -> None:
    target = repository.roles["general"].targets.pop(PATH)
    assert isinstance(target, TargetFile)
    repository.publish("general")

    assert device.refused() == "not_found"
