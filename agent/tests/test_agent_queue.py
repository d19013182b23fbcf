from __future__ import annotations

import pytest

from fleet_agent.offline_queue import OfflineQueue
from fleet_agent.sequence import BLOCK, SequenceCounter


def fill(queue, count, *, start=0):
    for number in range(start, start + count):
        assert queue.append({"sequence": number, "pad": "x" * 50})


def numbers(queue, limit=10_000):
    return [item.body["sequence"] for item in queue.peek(limit)]


def test_what_goes_in_comes_out_in_order_even_after_a_restart(tmp_path):
    fill(OfflineQueue(tmp_path, max_bytes=4000), 10)

    queue = OfflineQueue(tmp_path, max_bytes=4000)

    assert len(queue) == 10
    assert numbers(queue) == list(range(10))
    assert numbers(queue, limit=3) == [0, 1, 2]


def test_the_queue_never_passes_its_size_and_drops_the_oldest(tmp_path):
    queue = OfflineQueue(tmp_path, max_bytes=4000)

    for number in range(300):
        queue.append({"sequence": number, "pad": "x" * 50})
        assert sum(path.stat().st_size for path in tmp_path.glob("*.jsonl")) <= 4000

    kept = numbers(queue)
    assert kept == list(range(300 - len(kept), 300))
    assert len(kept) > 30
    assert queue.dropped == 300 - len(kept)


def test_what_was_delivered_is_gone_for_good(tmp_path):
    queue = OfflineQueue(tmp_path, max_bytes=8000)
    fill(queue, 30)

    queue.ack(queue.peek(17)[-1].position)

    assert numbers(queue) == list(range(17, 30))
    assert numbers(OfflineQueue(tmp_path, max_bytes=8000)) == list(range(17, 30))


def test_an_emptied_queue_takes_more_and_survives_a_restart(tmp_path):
    queue = OfflineQueue(tmp_path, max_bytes=8000)
    fill(queue, 5)
    queue.ack(queue.peek(5)[-1].position)
    assert len(queue) == 0

    fill(queue, 2, start=5)

    assert numbers(OfflineQueue(tmp_path, max_bytes=8000)) == [5, 6]


def test_a_torn_last_line_is_passed_over_and_spoils_nothing(tmp_path):
    fill(OfflineQueue(tmp_path, max_bytes=8000), 3)
    newest = max(tmp_path.glob("*.jsonl"))
    newest.write_bytes(newest.read_bytes()[:-20])

    queue = OfflineQueue(tmp_path, max_bytes=8000)
    fill(queue, 1, start=7)

    assert numbers(queue) == [0, 1, 7]


def test_a_full_disk_is_told_and_forgotten_when_it_is_over(tmp_path, monkeypatch):
    queue = OfflineQueue(tmp_path, max_bytes=8000)
    fill(queue, 1)

    def full(handle):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("fleet_agent.durable.os.fsync", full)
        assert queue.append({"sequence": 1}) is False
        assert "No space left" in queue.trouble

    fill(queue, 1, start=2)
    assert queue.trouble is None
    assert numbers(queue) == [0, 2]


def counter(path, **extra):
    return SequenceCounter(path / "sequence.json", **{"boot": "b1", "uptime_s": lambda: 0, **extra})


def test_sequences_start_at_one_and_rise_by_one(tmp_path):
    numbering = counter(tmp_path)

    assert [numbering.next() for _ in range(250)] == list(range(1, 251))


@pytest.mark.parametrize("used", [0, 1, BLOCK - 1, BLOCK, BLOCK + 1])
def test_a_restart_never_uses_a_sequence_again(tmp_path, used):
    before = counter(tmp_path)
    given = {before.next() for _ in range(used)}

    after = counter(tmp_path)
    later = [after.next() for _ in range(BLOCK + 5)]

    assert not given & set(later)
    assert later == sorted(set(later))
    assert not given or min(later) > max(given)


def test_another_boot_starts_anew(tmp_path):
    counter(tmp_path).next()

    assert counter(tmp_path, boot="b2").next() == 1


def test_sequences_used_while_the_disk_was_full_are_not_used_again(tmp_path, monkeypatch):
    def full(handle):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("fleet_agent.durable.os.fsync", full)
        before = counter(tmp_path, uptime_s=lambda: 500)
        given = [before.next() for _ in range(3)]
        assert "No space left" in before.trouble

    later = counter(tmp_path, uptime_s=lambda: 600).next()

    assert given == [501, 502, 503]
    assert later > 503


def test_a_damaged_sequence_file_does_not_stop_the_agent(tmp_path):
    (tmp_path / "sequence.json").write_text("{")

    assert counter(tmp_path).next() == 1
