"""What a device believes outlives power cuts and full disks, and a torn file never stops it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from portal_double import ENROLMENT_TOKEN, PortalDouble
from trust_device import TrustDevice
from tuf_repository import TufRepository

from fleet_agent.enrolment import Enrolment, enroll
from fleet_agent.updates.trust import can_trust
from fleet_agent.updates.trust_errors import TrustError


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


def kept_files(device: TrustDevice) -> list[Path]:
    folder = device.state_dir / "trust" / "metadata"
    return sorted(path for path in folder.rglob("*.json") if not path.is_symlink())


@pytest.mark.parametrize("torn", ["empty", "half", "gone", "other"])
@pytest.mark.parametrize(
    "name", ["1.root.json", "timestamp.json", "snapshot.json", "targets.json", "general.json"]
)
def test_a_torn_file_is_fetched_and_checked_again(
    repository: TufRepository, device: TrustDevice, name: str, torn: str
) -> None:
    device.ask()
    path = next(path for path in kept_files(device) if path.name == name)
    content = path.read_bytes()
    if torn == "gone":
        path.unlink()
    else:
        path.write_bytes({"empty": b"", "half": content[:-9], "other": b"[]"}[torn])

    assert device.ask().version == "1.0.0"
    assert path.read_bytes() == content


def test_the_link_to_the_newest_root_may_be_missing(
    repository: TufRepository, device: TrustDevice
) -> None:
    device.ask()
    (device.state_dir / "trust/metadata/root.json").unlink()

    assert device.ask().version == "1.0.0"


def test_a_torn_cache_does_not_let_an_older_root_back_in(
    repository: TufRepository, device: TrustDevice
) -> None:
    repository.publish("root")
    device.ask()
    for path in kept_files(device):
        path.write_bytes(b"")
    del repository.files["2.root.json"]

    assert device.ask().version == "1.0.0"
    pinned = (device.state_dir / "trust/root.json").read_bytes()
    assert b'"version":2' in pinned


def test_a_new_root_is_kept_even_when_the_rest_is_refused(
    repository: TufRepository, device: TrustDevice
) -> None:
    """Who holds back what follows must not bring the old keys back with a power cut."""
    device.ask()
    repository.publish("root")
    repository.answers["timestamp.json"] = b"{}"

    assert device.refused() == "malformed"

    pinned = (device.state_dir / "trust/root.json").read_bytes()
    assert pinned == repository.files["2.root.json"]


def test_a_disk_that_fails_before_anything_is_checked_leaves_the_pinned_root(
    repository: TufRepository, device: TrustDevice
) -> None:
    repository.publish("root")
    device.ask()
    metadata = device.state_dir / "trust/metadata"
    for path in (metadata / "root.json", metadata / "root_history/2.root.json"):
        path.unlink()
    (metadata / "root_history/2.root.json").mkdir()
    (metadata / "root.json").write_bytes(repository.files["1.root.json"])

    assert device.refused() == "storage"

    pinned = (device.state_dir / "trust/root.json").read_bytes()
    assert pinned == repository.files["2.root.json"]


def test_a_full_disk_is_told_apart_from_an_attack(
    repository: TufRepository, device: TrustDevice
) -> None:
    device.ask()
    folder = device.state_dir / "trust" / "targets"
    folder.joinpath("manifest.json").unlink()
    folder.joinpath("manifest.json").mkdir()

    with pytest.raises(TrustError) as refusal:
        device.ask()

    assert (refusal.value.code, refusal.value.failure_class) == ("storage", "space")
    assert refusal.value.is_temporary


def test_nothing_is_pinned_while_the_organization_has_signed_nothing(
    repository: TufRepository, device: TrustDevice
) -> None:
    repository.files.clear()

    assert device.store.pin() is False
    assert device.refused() == "not_found"


def test_a_pinned_root_stays_until_the_device_is_enrolled_again(
    repository: TufRepository, device: TrustDevice
) -> None:
    device.ask()
    other = TufRepository()
    other.add("1.0.0")
    other.publish(*other.roles)
    repository.files = other.files

    assert device.store.pin() is True
    assert device.refused() in ("signature", "rollback")
    assert device.store.repin() is True
    assert device.ask().version == "1.0.0"


def test_only_the_devices_user_reads_what_it_believes(
    repository: TufRepository, device: TrustDevice
) -> None:
    device.ask()

    assert os.stat(device.state_dir / "trust").st_mode & 0o077 == 0


def test_enrolling_pins_the_root_of_trust(tmp_path: Path, portal: PortalDouble) -> None:
    made = TufRepository()
    portal.files = {f"/api/v1/trust/metadata/{name}": data for name, data in made.files.items()}
    conf = tmp_path / "fleet.conf"

    enroll(conf, Enrolment(url=portal.url, token=ENROLMENT_TOKEN, device_id="kiosk-9"))

    assert (tmp_path / "state/trust/root.json").read_bytes() == made.files["root.json"]


def test_enrolling_goes_well_where_nothing_is_signed_yet(
    tmp_path: Path, portal: PortalDouble
) -> None:
    conf = tmp_path / "fleet.conf"

    enroll(conf, Enrolment(url=portal.url, token=ENROLMENT_TOKEN, device_id="kiosk-9"))

    assert not (tmp_path / "state/trust/root.json").exists()


def test_without_the_library_the_agent_runs_and_releases_are_refused() -> None:
    program = (
        "import sys; sys.modules['tuf'] = None\n"
        "import fleet_agent.cli, pathlib\n"
        "from fleet_agent.updates.trust import TrustStore, can_trust\n"
        "from fleet_agent.updates.trust_errors import TrustError\n"
        "assert not can_trust()\n"
        "try: TrustStore(pathlib.Path('/nowhere'), None, 'general').pin()\n"
        "except TrustError as error: print(error.code, error.failure_class, error)\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", program],
        env={"PYTHONPATH": str(Path(__file__).parents[1])},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )

    assert can_trust()
    assert done.stdout.startswith("unavailable refused The Python package tuf is missing")
