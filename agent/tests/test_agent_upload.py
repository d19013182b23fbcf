from __future__ import annotations

import os

import pytest

from fleet_agent.commands.bundle import bundle_directory
from fleet_agent.errors import AgentStopping
from fleet_agent.upload import PART_BYTES, upload_of


@pytest.fixture
def bench(make_bench, programs, monkeypatch):
    monkeypatch.setattr("fleet_agent.support_bundle.SYSTEM_PROGRAMS", {})
    monkeypatch.setattr("fleet_agent.pace.BASE_S", 0.01)
    return make_bench()


@pytest.fixture
def upload(bench, tmp_path):
    path = tmp_path / "bundle.tar.gz"
    path.write_bytes(os.urandom(3 * PART_BYTES + 1000))
    return upload_of(path, "c1", bench.executor._context)


def offsets(portal):
    return [r[1].partition("offset=")[2] for r in portal.requests if r[0] == "PUT"]


def test_a_bundle_goes_up_in_parts_and_comes_together(upload, portal):
    upload.send()

    assert portal.bundles == [upload.path.read_bytes()]
    assert offsets(portal) == [str(n * PART_BYTES) for n in range(4)]


@pytest.mark.parametrize("kind", ["drop", "lose", "status"])
def test_a_cut_costs_one_part(upload, portal, kind):
    portal.fail("/parts", kind=kind, count=2)

    upload.send()

    assert portal.bundles == [upload.path.read_bytes()]
    assert len(offsets(portal)) <= 7


def test_a_later_run_of_the_agent_sends_only_what_is_missing(upload, portal):
    data = upload.path.read_bytes()
    portal.uploads["c1"] = {"data": data[:PART_BYTES], "size": len(data), "status": "uploading"}

    upload.send()

    assert portal.bundles == [data]
    assert offsets(portal)[0] == str(PART_BYTES)


def test_a_complete_upload_is_not_sent_again(upload, portal):
    upload.send()
    upload.send()

    assert len(offsets(portal)) == 4


def test_a_part_that_was_damaged_on_its_way_starts_the_upload_over(upload, portal):
    size = upload.path.stat().st_size
    portal.uploads["c1"] = {"data": b"x" * PART_BYTES, "size": size, "status": "uploading"}

    upload.send()

    assert portal.bundles == [upload.path.read_bytes()]


def test_an_older_portal_gets_it_in_one_piece(upload, portal):
    portal.takes_parts = False

    upload.send()

    assert portal.bundles == [upload.path.read_bytes()]


def test_a_bundle_is_collected_once_and_its_upload_goes_on_after_a_restart(
    bench, portal, monkeypatch
):
    monkeypatch.setattr("fleet_agent.upload.PART_BYTES", 500)

    def stop(*_):
        if len(offsets(portal)) == 2:
            raise AgentStopping

    monkeypatch.setattr("fleet_agent.commands.base.Context.check_cancelled", stop)
    with pytest.raises(AgentStopping):
        bench.send("bundle", {"include_logs": False})
    kept = next(bundle_directory(bench.store.state_dir).glob("*.tar.gz")).read_bytes()
    monkeypatch.setattr("fleet_agent.commands.base.Context.check_cancelled", lambda self: None)

    bench.restart()
    bench.executor.recover()

    assert portal.status_of("c1") == "succeeded"
    assert portal.bundles == [kept]
    assert offsets(portal)[:3] == ["0", "500", "1000"]
    assert list(bundle_directory(bench.store.state_dir).iterdir()) == []


def test_the_portal_can_stop_a_bundle(bench, portal):
    portal.cancel("c1")

    report = bench.send("bundle", {})

    assert report["status"] == "cancelled"
    assert portal.bundles == []
