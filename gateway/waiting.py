"""Heartbeats on their way into a statement: who sends them, and what becomes of them."""

from collections.abc import Callable
from typing import NamedTuple

import msgspec

from gateway import counters
from gateway.heartbeat_rows import Reply
from gateway.heartbeat_shapes import BOOT_ID, HEALTH, SEQUENCE, TS, Beat


class Outcome:
    """What became of heartbeats; `status` is the HTTP status, `head` the answer up to the pace."""

    __slots__ = ("head", "interval_s", "status")

    def __init__(self, status: int, reply: Reply | None = None) -> None:
        self.status = status
        self.interval_s = reply.interval_s if reply else 0
        self.head = b""
        if reply and status == 200:
            target = _encode(reply.target.decode() or None)
            self.head = _HEAD % (reply.pending, target, reply.server_time)


_HEAD = (
    b'{"ack":true,"commands_pending":%d,"target_version":%b,"server_time":"%b","next_heartbeat_s":'
)
_encode = msgspec.json.Encoder().encode
AWAY = Outcome(503)
UNSTORABLE = Outcome(422)


class Sender(NamedTuple):
    """Who sends a heartbeat: the SHA-256 of a device token or of an API key, and for whom."""

    token: bytes | None
    api_key: bytes | None
    # The device id in the path or the body; None: the device the token belongs to.
    wanted: str | None
    # Sent at once, and not kept for later.
    live: bool


# Told what became of a heartbeat, from the event loop; must not raise.
Tell = Callable[[Outcome], None]


class Waiting:
    """One heartbeat on its way into a statement."""

    __slots__ = ("beat", "ended", "key", "last", "retried", "sender", "since", "tell", "unusual")

    def __init__(self, sender: Sender, beat: Beat, tell: Tell) -> None:
        self.sender = sender
        self.beat = beat
        self.tell = tell
        self.ended = False
        # The same device always has the same key; strangers may share one, which costs a round.
        self.key = sender[2] or sender[0]
        self.since = 0.0
        self.last = True
        self.retried = False
        # The statement for plain ones left it.
        self.unusual = False

    @property
    def is_plain(self) -> bool:
        """The statement for plain ones may store it."""
        sender, beat = self.sender, self.beat
        return bool(
            sender[0] is not None
            and sender[2] is not None
            and sender[3]
            and self.last
            and not self.unusual
            and beat[BOOT_ID]
            and beat[SEQUENCE] is not None
            and beat[TS] is not None
        )


NOBODY = Waiting(Sender(None, None, None, live=False), (), lambda _outcome: None)


def follows(before: Waiting, item: Waiting) -> bool:
    """Say whether storing both and keeping the state of `item` equals applying them in turn."""
    if before.sender != item.sender:
        return False
    one, two = before.beat, item.beat
    if one == two:
        return True
    earlier, later = one[TS], two[TS]
    if earlier is None or later is None or one[HEALTH] != two[HEALTH]:
        return False
    if one[BOOT_ID] != two[BOOT_ID]:
        return False
    low, high = one[SEQUENCE], two[SEQUENCE]
    if low is None or high is None:
        return low is high and bool(later > earlier)
    return bool(high > low and later >= earlier)


def settle(batch: list[Waiting], outcome: Outcome) -> None:
    """End every heartbeat of the batch that has not ended the same way."""
    open_ = [item for item in batch if not item.ended]
    if not open_:
        return
    counters.HEARTBEATS.labels(str(outcome.status)).inc(len(open_))
    for item in open_:
        item.ended = True
        item.tell(outcome)
