"""Releases: uploads that are continued where they broke, and the program around them."""

from __future__ import annotations

import hashlib
import json

import pytest
from faulty_portal import API_KEY, Reply, problem

from fleet_client import Conflict, upload
from fleet_client.cli.program import main

CONTENT = bytes(range(256)) * 40
DIGEST = hashlib.sha256(CONTENT).hexdigest()
PLACE = "/releases/1.0/artifacts/any"
PART = 4000


class Taking:
    """A portal that keeps parts; `broken` are the requests that get no answer."""

    def __init__(self, *broken: int) -> None:
        self.kept = b""
        self.asked = 0
        self._broken = broken

    def state(self, _request=None):
        if not self.kept:
            return problem(404, "not_found", "Nothing is here.")
        return Reply(self.told())

    def told(self):
        status = "stored" if len(self.kept) == len(CONTENT) else "uploading"
        facts = {"size": len(CONTENT), "sha256": DIGEST, "received": len(self.kept)}
        return {"id": "a-1", "status": status, **facts}

    def part(self, request):
        self.asked += 1
        offset = int(request.query["offset"][0])
        assert request.headers["x-upload-sha256"] == DIGEST
        assert request.headers["x-upload-size"] == str(len(CONTENT))
        end = offset + len(request.body)
        if end > len(self.kept):
            if offset != len(self.kept):
                return problem(409, "artifact_part", "Go on.", received=len(self.kept))
            self.kept += request.body
        return Reply(self.told(), cut_after=0 if self.asked in self._broken else None)


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    monkeypatch.setattr(upload, "PART_BYTES", PART)


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "bundle.tar.gz"
    path.write_bytes(CONTENT)
    return path


def served(portal, taking):
    portal.on("GET", f"{PLACE}/bundle", taking.state)
    portal.on("PUT", f"{PLACE}/parts", taking.part)


def test_a_bundle_goes_in_parts_and_tells_how_far_it_is(portal, do, source):
    taking, progress = Taking(2), []
    served(portal, taking)

    stored = do(
        lambda fleet: fleet.releases.upload(
            "1.0", source, on_progress=lambda done, total: progress.append((done, total))
        )
    )

    assert taking.kept == CONTENT
    assert stored.status == "stored"
    assert progress == [(4000, 10240), (8000, 10240), (10240, 10240)]


def test_an_upload_goes_on_where_the_portal_is(portal, do, source):
    taking = Taking()
    taking.kept = CONTENT[:4000]
    served(portal, taking)

    do(lambda fleet: fleet.releases.upload("1.0", source))

    assert taking.kept == CONTENT
    assert [one.query["offset"] for one in portal.asked(f"{PLACE}/parts")] == [["4000"], ["8000"]]


def test_a_portal_that_never_agrees_ends_the_upload(portal, do, source):
    served(portal, Taking())
    portal.on("PUT", f"{PLACE}/parts", problem(409, "artifact_part", "Go on.", received=0))

    with pytest.raises(Conflict):
        do(lambda fleet: fleet.releases.upload("1.0", source))
    assert len(portal.asked(f"{PLACE}/parts")) == upload.TURNS + 1


def test_a_release_is_made_checked_and_issued(portal, do):
    release = {"id": "r-1", "version": "1.0", "state": "draft", "artifacts": [{"role": "any"}]}
    portal.on("POST", "/releases", Reply(release, 201))
    portal.on("POST", "/releases/1.0/publish", Reply({**release, "state": "published"}))
    portal.on("GET", "/releases/latest", Reply(release))

    made = do(lambda fleet: fleet.releases.create("1.0", "a" * 40, roles=["player"]))
    issued = do(lambda fleet: fleet.releases.publish("1.0"))
    latest = do(lambda fleet: fleet.releases.latest(role="player"))

    assert portal.seen[0].body == {"version": "1.0", "commit": "a" * 40, "roles": ["player"]}
    assert (made.artifacts[0].role, issued.state) == ("any", "published")
    assert (latest.version, portal.seen[-1].query) == ("1.0", {"role": ["player"]})


def test_a_validation_with_errors_ends_the_program_with_a_refusal(portal, monkeypatch, capsys):
    finding = {"severity": "error", "rule": "image", "path": "compose.yml", "message": "Pin it."}
    answer = {"version": "1.0", "state": "draft", "findings": [finding]}
    portal.on("POST", "/releases/1.0/validate", Reply(answer))
    monkeypatch.setenv("FLEET_URL", portal.url)
    monkeypatch.setenv("FLEET_API_KEY", API_KEY)

    with pytest.raises(SystemExit) as ended:
        main(["releases", "validate", "1.0"])
    assert ended.value.code == 4
    assert "Pin it." in capsys.readouterr().out

    with pytest.raises(SystemExit):
        main(["releases", "validate", "1.0", "--json"])
    assert json.loads(capsys.readouterr().out) == answer
