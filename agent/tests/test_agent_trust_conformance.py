"""The cases of theupdateframework/tuf-conformance that apply to this client, by their names.

The name of a case is that of the function in its test suite. The suite itself is run by `make
conformance`; this table tells of each case what the portal hears. What is left to the suite:

- `test_faketime`, `test_repository_simulator`: about the suite's own tools.
- `test_download_with_hash_algorithms`, `test_static_repository`, `test_graph_traversal`,
  `test_targetfile_search`: the portal's repositories have SHA-256, two delegated roles, and one
  path to each target.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, Optional

import pytest
import time_machine
from cryptography.hazmat.primitives.asymmetric import ec
from securesystemslib.signer import CryptoSigner
from trust_device import TrustDevice
from tuf.api import exceptions
from tuf_repository import TufRepository, signer

from fleet_agent.portal import PortalClient
from fleet_agent.settings import ConfigStore
from fleet_agent.updates.tuf_client import PortalFetcher

Prepare = Callable[[TufRepository, TrustDevice], Any]
ROLES = ("root", "targets", "general", "snapshot", "timestamp")


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


def nothing(repository: TufRepository, device: TrustDevice) -> None:
    """An honest repository."""


def known(prepare: Prepare) -> Prepare:
    """Let the device know the repository first."""

    def both(repository: TufRepository, device: TrustDevice) -> None:
        device.ask()
        prepare(repository, device)

    return both


def answering(role: str, content: Any) -> Prepare:
    def prepare(repository: TufRepository, device: TrustDevice) -> None:
        repository.answers[repository.name(role)] = content

    return prepare


def broken_root(repository: TufRepository, device: TrustDevice) -> None:
    repository.answers["root.json"] = b"{}"


def republish(repository: TufRepository, role: str) -> None:
    """Publish a role whose signers or fields a test has changed."""
    if role == "timestamp":
        repository.publish_timestamp()
    elif role == "snapshot":
        repository.publish()
    else:
        repository.publish(role)


def unsigned(role: str) -> Prepare:
    def prepare(repository: TufRepository, device: TrustDevice) -> None:
        repository.signed[role] = []
        republish(repository, role)

    return prepare


def expired(role: str) -> Prepare:
    return lambda repository, device: repository.expire(role)


def changed(role: str, change: Callable[[dict[str, Any]], None]) -> Prepare:
    """Alter a signed file after it was signed, and let snapshot and timestamp agree with it."""

    def prepare(repository: TufRepository, device: TrustDevice) -> None:
        if role == "timestamp":
            repository.timestamp.version += 1
            repository.write(role, change)
        elif role == "snapshot":
            repository.snapshot.version += 1
            repository.write(role, change)
            repository.publish_timestamp()
        else:
            repository.part(role).version += 1
            repository.write(role, change)
            repository.publish()

    return prepare


def other_type(record: dict[str, Any]) -> None:
    record["signed"]["_type"] = "snapshot"


def twice(record: dict[str, Any]) -> None:
    record["signatures"] = [*record["signatures"], *record["signatures"]]


def wrong_version(repository: TufRepository, device: TrustDevice) -> None:
    """A root of version 3 under the name of version 2."""
    repository.root.version += 1
    repository.publish("root")
    repository.files["2.root.json"] = repository.files.pop("3.root.json")


def wrong_hash(role: str) -> Prepare:
    def prepare(repository: TufRepository, device: TrustDevice) -> None:
        listing = repository.timestamp.snapshot_meta
        if role == "snapshot":
            repository.publish("targets")
            listing = repository.timestamp.snapshot_meta
            listing.hashes = {"sha256": "00" * 32}
            repository.timestamp.version += 1
            repository.write("timestamp")
            return
        repository.publish(role)
        repository.snapshot.version += 1
        repository.snapshot.meta[f"{role}.json"].hashes = {"sha256": "00" * 32}
        repository.write("snapshot")
        repository.publish_timestamp()

    return prepare


def equal_timestamp(repository: TufRepository, device: TrustDevice) -> None:
    """Another text under the same version is passed over, not taken."""
    repository.timestamp.unrecognized_fields["other"] = True
    repository.write("timestamp")


def custom_fields(repository: TufRepository, device: TrustDevice) -> None:
    for role in ROLES:
        repository.part(role).unrecognized_fields["x-custom"] = {"a": 1}
    repository.publish("root", "targets", "general")


def old_key_ids(repository: TufRepository, device: TrustDevice) -> None:
    for key in repository.root.keys.values():
        key.unrecognized_fields["keyid_hash_algorithms"] = ["sha256", "sha512"]
    repository.publish("root")


def without_hashes(repository: TufRepository, device: TrustDevice) -> None:
    repository.has_hashes = False
    repository.publish("targets", "general", "staged")


def other_curve(repository: TufRepository, device: TrustDevice) -> None:
    repository.online = CryptoSigner(ec.generate_private_key(ec.SECP256R1()))
    repository.name_keys()
    repository.publish("root", "targets", "staged")


def one_wrong_signature(repository: TufRepository, device: TrustDevice) -> None:
    """Two good signatures suffice; a third one is wrong."""
    repository.signed["general"] = repository.general_keys
    repository.roles["general"].version += 1

    def spoil(record: dict[str, Any]) -> None:
        record["signatures"][2]["sig"] = "00" * 64

    repository.write("general", spoil)
    repository.publish()


def threshold_of_snapshot(repository: TufRepository, device: TrustDevice) -> None:
    repository.root.roles["snapshot"].threshold = 2
    repository.publish("root")


def keys_twice(repository: TufRepository, device: TrustDevice) -> None:
    repository.root.roles["timestamp"].keyids *= 2
    repository.root.roles["timestamp"].threshold = 2
    repository.publish("root")


def unknown_hash(repository: TufRepository, device: TrustDevice) -> None:
    name = next(name for name in repository.files if name.startswith("general/"))
    for file in repository.roles["general"].targets.values():
        file.hashes = {"of-tomorrow": "00" * 32}
    folder = name.rpartition("/")[0]
    repository.files[f"{folder}/{'00' * 32}.manifest.json"] = repository.files[name]
    repository.publish("general")


def other_content(repository: TufRepository, device: TrustDevice) -> None:
    for name in list(repository.files):
        if name.startswith("general/"):
            repository.files[name] = repository.files[name].replace(b"acme", b"evil")


def older(role: str) -> Prepare:
    """A version below the one the device knows, signed with the role's own keys."""

    def prepare(repository: TufRepository, device: TrustDevice) -> None:
        if role == "timestamp":
            repository.timestamp.version -= 2
            repository.publish_timestamp()
        elif role == "snapshot":
            repository.snapshot.version -= 2
            repository.publish()
        else:
            repository.part(role).version -= 1
            repository.publish()

    def twice_published(repository: TufRepository, device: TrustDevice) -> None:
        repository.publish("targets", "general")
        repository.publish("targets", "general")
        device.ask()
        prepare(repository, device)

    return twice_published


def without_role(repository: TufRepository, device: TrustDevice) -> None:
    repository.snapshot.version += 1
    del repository.snapshot.meta["general.json"]
    repository.write("snapshot")
    repository.publish_timestamp()


def fast_forward(role: str) -> Prepare:
    """A thief raised a version; after a change of keys the honest one counts again."""

    def prepare(repository: TufRepository, device: TrustDevice) -> None:
        honest = repository.part(role).version
        repository.part(role).version = 10**6
        republish(repository, role)
        device.ask()
        repository.part(role).version = honest
        repository.online = signer()
        repository.name_keys()
        repository.publish("root", "targets", "staged")

    return prepare


def other_delegator(repository: TufRepository, device: TrustDevice) -> None:
    """General gets other keys; what the old ones signed is in the device's cache."""
    repository.general_keys = [signer() for _ in range(3)]
    repository.name_keys()
    repository.publish("targets")


def rotated(*signs: str) -> Prepare:
    def prepare(repository: TufRepository, device: TrustDevice) -> None:
        before = repository.custodians
        repository.custodians = [signer() for _ in range(3)]
        repository.name_keys()
        chosen = {"old": before[:2], "new": repository.custodians[:2]}
        repository.signed["root"] = [key for name in signs for key in chosen[name]]
        repository.publish("root", "targets")

    return prepare


def new_keys(repository: TufRepository, device: TrustDevice) -> None:
    repository.online = signer()
    repository.general_keys = [signer() for _ in range(3)]
    repository.name_keys()
    repository.publish("root", "targets", "general", "staged")


def renewed(role: str) -> Prepare:
    """What the device has expired meanwhile; the repository has a new one."""

    def prepare(repository: TufRepository, device: TrustDevice) -> None:
        repository.expire(role)
        if role != "root":
            assert device.refused() == "freeze"
        repository.part(role).expires = repository.roles["general"].expires
        republish(repository, role)

    return prepare


CASES: list[tuple[str, str, Prepare, Optional[str]]] = [
    ("test_implicit_refresh", "", nothing, None),
    ("test_invalid_initial_root", "", broken_root, "malformed"),
    ("test_unsigned_metadata", "root", known(unsigned("root")), "signature"),
    *[
        ("test_unsigned_metadata", role, unsigned(role), "signature")
        for role in ("targets", "general", "snapshot", "timestamp")
    ],
    ("test_url_and_metadata_version_mismatch", "root", known(wrong_version), "rollback"),
    ("test_timestamp_content_changes", "", known(equal_timestamp), None),
    ("test_basic_metadata_hash_support", "without", known(without_hashes), None),
    ("test_basic_metadata_hash_support", "with", nothing, None),
    ("test_targets_hash_mismatch", "targets", wrong_hash("targets"), "mix_and_match"),
    ("test_targets_hash_mismatch", "general", wrong_hash("general"), "mix_and_match"),
    ("test_snapshot_hash_mismatch", "", wrong_hash("snapshot"), "mix_and_match"),
    ("test_custom_fields", "", known(custom_fields), None),
    ("test_deprecated_keyid_hash_algorithms", "", known(old_key_ids), None),
    ("test_snapshot_404", "", answering("snapshot", 404), "not_found"),
    ("test_targets_404", "", answering("targets", 404), "not_found"),
    ("test_timestamp_404", "", answering("timestamp", 404), "not_found"),
    *[
        ("test_incorrect_metadata_type", role, changed(role, other_type), "malformed")
        for role in ("targets", "general", "timestamp")
    ],
    ("test_root_expired", "", known(expired("root")), "expired"),
    ("test_timestamp_expired", "", known(expired("timestamp")), "freeze"),
    ("test_snapshot_expired", "", known(expired("snapshot")), "freeze"),
    ("test_targets_expired", "targets", known(expired("targets")), "expired"),
    ("test_targets_expired", "general", known(expired("general")), "expired"),
    ("test_expired_local_root", "", known(renewed("root")), None),
    ("test_expired_local_timestamp", "", known(renewed("timestamp")), None),
    ("test_client_downloads_expected_file_in_sub_dir", "", nothing, None),
    ("test_repository_substitutes_target_file", "", other_content, "content"),
    ("test_download_with_unknown_hash_algorithm", "", unknown_hash, "content"),
    ("test_snapshot_does_not_meet_threshold", "", known(threshold_of_snapshot), "signature"),
    ("test_duplicate_keys", "", known(keys_twice), "malformed"),
    ("test_duplicate_sig_keyids", "", changed("general", twice), "malformed"),
    ("test_keytype_and_scheme", "ecdsa", known(other_curve), None),
    ("test_invalid_sig_in_valid_metadata", "", one_wrong_signature, None),
    ("test_new_timestamp_version_rollback", "", older("timestamp"), "rollback"),
    ("test_snapshot_rollback", "", older("snapshot"), "rollback"),
    ("test_targets_rollback", "targets", older("targets"), "rollback"),
    ("test_targets_rollback", "general", older("general"), "rollback"),
    ("test_targets_role_removal", "", known(without_role), "rollback"),
    ("test_delegation_not_in_snapshot", "", without_role, "mix_and_match"),
    ("test_targets_fast_forward_recovery", "", fast_forward("staged"), None),
    ("test_new_snapshot_fast_forward_recovery", "", fast_forward("snapshot"), None),
    ("test_new_timestamp_fast_forward_recovery", "", fast_forward("timestamp"), None),
    (
        "test_cached_role_is_verified_against_current_delegator",
        "",
        known(other_delegator),
        "signature",
    ),
    ("test_root_rotation", "old_and_new", known(rotated("old", "new")), None),
    ("test_root_rotation", "new_only", known(rotated("new")), "signature"),
    ("test_root_rotation", "old_only", known(rotated("old")), "signature"),
    ("test_non_root_rotations", "", known(new_keys), None),
]


@pytest.mark.parametrize(
    ("prepare", "code"),
    [case[2:] for case in CASES],
    ids=[f"{name}-{way}" if way else name for name, way, _, _ in CASES],
)
def test_a_case_of_tuf_conformance(
    repository: TufRepository, device: TrustDevice, prepare: Prepare, code: Optional[str]
) -> None:
    prepare(repository, device)

    if code is None:
        assert device.ask().version == "1.0.0"
    else:
        assert device.refused() == code


def test_basic_refresh_requests(repository: TufRepository, device: TrustDevice) -> None:
    """Each file is asked for once, in the order that makes it checkable."""
    device.ask()

    target = next(name for name in repository.files if name.startswith("general/"))
    assert repository.asked == [
        "root.json", "2.root.json", "timestamp.json", "2.snapshot.json", "1.targets.json",
        "2.general.json", target,
    ]  # fmt: skip


@pytest.mark.parametrize("kept", ["whole", "torn", "other", "gone"])
def test_artifact_cache(repository: TufRepository, device: TrustDevice, kept: str) -> None:
    """A manifest that is there is not fetched again, unless it is not what was signed."""
    device.ask()
    repository.asked.clear()
    path = device.state_dir / "trust/targets/manifest.json"
    content = path.read_bytes()
    if kept == "gone":
        path.unlink()
    else:
        path.write_bytes({"torn": content[:-9], "other": b"[]"}.get(kept, content))

    assert device.ask().version == "1.0.0"

    target = next(name for name in repository.files if name.startswith("general/"))
    assert repository.asked[:2] == ["2.root.json", "timestamp.json"]
    assert repository.asked[2:] == ([] if kept == "whole" else [target])


@pytest.mark.parametrize(
    ("url", "asked"),
    [
        # python-tuf quotes the names of roles, not those of targets.
        ("/trust/metadata/2.%3F.json", "/trust/metadata/2.%3F.json"),
        ("/trust/metadata/2...%2Fa%20b.json", "/trust/metadata/2...%2Fa%20b.json"),
        ("/trust/targets/general/a b%2F?#", "/trust/targets/general/a%20b%252F%3F%23"),
    ],
)
def test_unusual_role_name(
    repository: TufRepository, device: TrustDevice, url: str, asked: str
) -> None:
    """Each name goes out quoted once."""
    portal = PortalClient(ConfigStore(device.conf))

    with pytest.raises(exceptions.DownloadHTTPError):
        PortalFetcher(portal, seconds=5).download_bytes(url, 100)

    portal.close()
    assert repository.addresses[-1] == f"/api/v1{asked}"


def test_metadata_bytes_match(repository: TufRepository, device: TrustDevice) -> None:
    device.ask()

    for role in ROLES:
        assert device.cached(role) == repository.files[repository.name(role)]


def test_unsigned_initial_root(repository: TufRepository, device: TrustDevice) -> None:
    repository.signed["root"] = []
    repository.publish("root")

    assert device.refused() == "signature"
    assert not device.store.is_pinned


def test_snapshot_has_too_few_keys(repository: TufRepository, device: TrustDevice) -> None:
    device.ask()
    repository.root.roles["snapshot"].keyids = []
    repository.publish("root")

    assert device.refused() == "signature"


def test_multiple_changes_to_target(repository: TufRepository, device: TrustDevice) -> None:
    for counter in (1, 2, 3):
        repository.add("1.0.0", counter=counter)
        repository.publish("general")
        assert device.ask().counter == counter


def test_a_device_that_was_away_for_months_walks_through_every_root(
    repository: TufRepository, device: TrustDevice
) -> None:
    device.ask()
    for _ in range(5):
        rotated("old", "new")(repository, device)

    assert device.ask().version == "1.0.0"
    pinned = (device.state_dir / "trust/root.json").read_bytes()
    assert pinned == repository.files["6.root.json"]


def test_a_clock_of_years_ago_still_refuses_what_is_older_than_what_is_known(
    repository: TufRepository, device: TrustDevice
) -> None:
    """Without a battery a device starts in the past: versions hold where dates do not."""
    before = repository.files["timestamp.json"]
    repository.publish("general")
    device.ask()
    repository.answers["timestamp.json"] = before

    with time_machine.travel(repository.timestamp.expires - timedelta(days=4000)):
        assert device.refused() == "rollback"
