"""Downloads: whole or not there, and continued where they broke."""

from __future__ import annotations

import hashlib
import stat

import pytest
from faulty_portal import Reply, problem

from fleet_client import AnswerUnusable, NotFound, Unreachable

CONTENT = bytes(range(256)) * 2_000
DIGEST = hashlib.sha256(CONTENT).hexdigest()
DOWNLOAD = "/bundles/b-1/download"


def serving(*cuts, content=CONTENT, digest=DIGEST, ranges=True):
    """Serve a file; the n-th answer ends after `cuts[n]` bytes."""
    remaining = list(cuts)

    def answer(request):
        cut = remaining.pop(0) if remaining else None
        start = 0
        if ranges and "range" in request.headers:
            start = int(request.headers["range"][len("bytes=") : -1])
        headers = {"Content-Type": "application/zip", "X-Content-SHA256": digest}
        if not start:
            return Reply(content, 200, headers, cut_after=cut)
        if start >= len(content):
            return problem(416, "range", "There is no more.")
        headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        return Reply(content[start:], 206, headers, cut_after=cut)

    return answer


def ranges(portal):
    return [request.headers.get("range") for request in portal.asked(DOWNLOAD)]


def test_a_broken_download_goes_on_where_it_broke(portal, do, tmp_path):
    portal.on("GET", DOWNLOAD, serving(100_000, 50_000))
    target = tmp_path / "bundle.zip"
    progress = []

    saved = do(
        lambda fleet: fleet.bundles.download(
            "b-1", target, on_progress=lambda done, total: progress.append((done, total))
        )
    )

    assert saved == target
    assert target.read_bytes() == CONTENT
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [target]
    assert ranges(portal) == [None, "bytes=100000-", "bytes=150000-"]
    assert progress[-1] == (len(CONTENT), len(CONTENT))


def test_a_download_given_up_is_not_there_and_goes_on_at_the_next_try(portal, do, tmp_path):
    target = tmp_path / "bundle.zip"
    portal.on("GET", DOWNLOAD, serving(100_000, 1, 1, 1, 1, 1), Reply(cut_after=0))
    with pytest.raises(Unreachable):
        do(lambda fleet: fleet.bundles.download("b-1", target))
    assert not target.exists()

    portal.on("GET", DOWNLOAD, serving())
    do(lambda fleet: fleet.bundles.download("b-1", target))

    assert target.read_bytes() == CONTENT
    assert ranges(portal)[-1] == "bytes=100000-"


def test_a_portal_that_sends_the_whole_again_is_believed(portal, do, tmp_path):
    portal.on("GET", DOWNLOAD, serving(100_000, ranges=False))
    target = tmp_path / "bundle.zip"

    do(lambda fleet: fleet.bundles.download("b-1", target))

    assert target.read_bytes() == CONTENT


def test_what_was_left_of_another_bundle_is_not_continued(portal, do, tmp_path):
    target = tmp_path / "bundle.zip"
    (tmp_path / "bundle.zip.b-2.part").write_bytes(b"another")
    portal.on("GET", DOWNLOAD, serving())

    do(lambda fleet: fleet.bundles.download("b-1", target))

    assert target.read_bytes() == CONTENT
    assert ranges(portal) == [None]


def test_a_file_with_another_digest_is_removed(portal, do, tmp_path):
    portal.on("GET", DOWNLOAD, serving(digest="0" * 64))

    with pytest.raises(AnswerUnusable, match="digest"):
        do(lambda fleet: fleet.bundles.download("b-1", tmp_path / "bundle.zip"))

    assert list(tmp_path.iterdir()) == []


def test_leftovers_as_long_as_the_file_are_fetched_anew(portal, do, tmp_path):
    (tmp_path / "bundle.zip.b-1.part").write_bytes(CONTENT)
    portal.on("GET", DOWNLOAD, serving())
    target = tmp_path / "bundle.zip"

    do(lambda fleet: fleet.bundles.download("b-1", target))

    assert target.read_bytes() == CONTENT
    assert ranges(portal) == [f"bytes={len(CONTENT)}-", None]


def test_a_bundle_that_is_not_there_leaves_no_file(portal, do, tmp_path):
    portal.on("GET", DOWNLOAD, problem(404, "not_found", "No bundle."))

    with pytest.raises(NotFound):
        do(lambda fleet: fleet.bundles.download("b-1", tmp_path / "bundle.zip"))

    assert list(tmp_path.iterdir()) == []


def test_an_export_that_broke_begins_again(portal, do, tmp_path):
    lines = b"seq,action\n" + b"1,device.register\n" * 5_000
    csv = {"Content-Type": "text/csv"}
    portal.on(
        "GET", "/audits.csv", Reply(lines, 200, csv, cut_after=20_000), Reply(lines, 200, csv)
    )
    target = tmp_path / "audit.csv"

    do(lambda fleet: fleet.audits.export(target, since="2026-01-01T00:00:00Z"))

    assert target.read_bytes() == lines
    assert [request.headers.get("range") for request in portal.seen] == [None, None]
    assert portal.seen[1].query == {"since": ["2026-01-01T00:00:00Z"]}


def test_an_export_replaces_the_one_before_only_when_it_is_whole(portal, do, tmp_path):
    target = tmp_path / "audit.csv"
    target.write_bytes(b"the last one")
    portal.on("GET", "/audits.csv", Reply(b"x" * 1000, 200, {}, cut_after=10))

    with pytest.raises(Unreachable):
        do(lambda fleet: fleet.audits.export(target))

    assert target.read_bytes() == b"the last one"
