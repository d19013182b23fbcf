from __future__ import annotations

import pytest

from fleet_agent.errors import PortalError
from fleet_agent.output import MAX_PIECE_CHARS, MAX_TOTAL_CHARS, OutputStream
from fleet_agent.redaction import SECRETS


class Portal:
    """Takes pieces as the portal does; `refusals` come before, `losses` after the work."""

    def __init__(self):
        self.pieces = []
        self.refusals = []
        self.losses = 0

    def post(self, piece):
        if self.refusals:
            raise self.refusals.pop(0)
        if piece["index"] > len(self.pieces):
            raise PortalError("gap", status=409, answer={"next_index": len(self.pieces)})
        if piece["index"] == len(self.pieces):
            self.pieces.append(piece["text"])
        if self.losses:
            self.losses -= 1
            raise PortalError("no answer")
        return {"next_index": len(self.pieces), "truncated": False}

    @property
    def text(self):
        return "".join(self.pieces)


@pytest.fixture
def portal():
    return Portal()


def stream_of(portal, data, **extra):
    return OutputStream(
        read=lambda offset, size: bytes(data[offset : offset + size]), post=portal.post, **extra
    )


def pump_all(stream, tries=2000):
    for _ in range(tries):
        try:
            if not stream.pump(is_final=True):
                return
        except PortalError:  # noqa: PERF203
            continue
    raise AssertionError("it does not end")


def test_long_output_comes_whole_in_pieces_of_the_allowed_size(portal):
    text = "".join(f"line {number} äöü 🚀\n" for number in range(9000))

    pump_all(stream_of(portal, text.encode()))

    assert portal.text == text
    assert max(map(len, portal.pieces)) <= MAX_PIECE_CHARS


@pytest.mark.parametrize("char", ["ä", "€", "🚀"])
@pytest.mark.parametrize("shift", range(4))
def test_a_character_is_never_cut_in_two(portal, char, shift):
    text = "x" * shift + char * 20_000

    pump_all(stream_of(portal, text.encode()))

    assert portal.text == text


def test_a_line_waits_for_its_end_and_is_told_at_the_end_anyway(portal):
    data = bytearray(b"first\nhalf a li")
    stream = stream_of(portal, data)

    assert stream.pump()
    assert not stream.pump()
    assert portal.pieces == ["first\n"]
    data += b"ne\n"
    assert stream.pump()
    assert portal.text == "first\nhalf a line\n"


def test_a_secret_on_a_border_is_removed(portal):
    SECRETS.add("hunter2-hunter2-hunter2")
    line = "x" * 100 + " hunter2-hunter2-hunter2\n"

    pump_all(stream_of(portal, (line * 500).encode()))

    assert len(portal.pieces) > 2
    assert "hunter2" not in portal.text


def test_a_private_key_longer_than_a_piece_is_removed(portal):
    inside = "c2VjcmV0IGJ5dGVz\n" * 3000
    text = f"before\n-----BEGIN PRIVATE KEY-----\n{inside}-----END PRIVATE KEY-----\nafter\n"

    pump_all(stream_of(portal, text.encode()))

    assert "c2Vj" not in portal.text
    assert portal.text.startswith("before\n")
    assert portal.text.endswith("after\n")


def test_a_piece_whose_answer_was_lost_is_told_once(portal):
    text = "a line\n" * 5000
    portal.losses = 2

    pump_all(stream_of(portal, text.encode()))

    assert portal.text == text


def test_a_later_run_of_the_agent_goes_on_where_the_first_stopped(portal, tmp_path):
    text = "a line of output\n" * 5000
    kept_in = tmp_path / "told.json"
    first = stream_of(portal, text.encode(), kept_in=kept_in)
    first.pump()
    portal.losses = 1
    with pytest.raises(PortalError):
        first.pump()

    pump_all(stream_of(portal, text.encode(), kept_in=kept_in))

    assert portal.text == text


def test_a_portal_that_lacks_pieces_is_followed(portal):
    stream = stream_of(portal, b"one\n")
    portal.pieces = ["told by an earlier run\n"] * 3
    pump_all(stream)
    data = b"one\n"
    ahead = stream_of(portal, data)
    ahead._cursor.index = 7

    pump_all(ahead)

    assert portal.pieces[3:] == ["one\n"]


def test_nothing_is_told_beyond_the_total(portal):
    pump_all(stream_of(portal, b"a line of text\n" * 200_000))

    assert MAX_TOTAL_CHARS <= len(portal.text) <= MAX_TOTAL_CHARS + MAX_PIECE_CHARS


@pytest.mark.parametrize("status", [404, 409, 422])
def test_a_portal_that_wants_no_output_is_left_alone(portal, status):
    portal.refusals = [PortalError("no", status=status)]
    stream = stream_of(portal, b"one\ntwo\n")

    stream.pump()

    assert stream.is_closed
    assert not stream.pump(is_final=True)
