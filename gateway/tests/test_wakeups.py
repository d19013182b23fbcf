"""Who is woken by what."""

from uuid import uuid4

import pytest

from gateway.database import make_pool
from gateway.wakeups import Sleeper, Wakeups


@pytest.fixture
def wakeups() -> Wakeups:
    return Wakeups(make_pool())


def test_looks_at_the_same_time_hear_each_for_themselves(wakeups):
    early, late = uuid4(), uuid4()

    with wakeups.heard() as outer:
        with wakeups.heard() as inner:
            wakeups.wake(early)
        wakeups.wake(late)

    assert (outer, inner) == ({early, late}, {early})


def test_a_look_that_ends_first_takes_nothing_from_another(wakeups):
    device = uuid4()
    one, two = wakeups.heard(), wakeups.heard()
    one.__enter__()
    heard = two.__enter__()

    one.__exit__(None, None, None)
    wakeups.wake(device)

    assert heard == {device}
    two.__exit__(None, None, None)


@pytest.mark.parametrize("payload", ["", "queued", "not-a-device queued", "\x00 \x00"])
def test_an_unreadable_notification_harms_nobody(wakeups, payload):
    wakeups.hear(payload)


def test_words_reach_those_who_sleep_for_the_device_and_nobody_else(wakeups):
    device = uuid4()
    sleeper, stranger = Sleeper(), Sleeper()
    wakeups.add(device, sleeper)
    wakeups.add(uuid4(), stranger)

    wakeups.hear(f"{device} queued")

    assert (sleeper.woken, stranger.woken) == (True, False)


def test_a_word_of_its_own_is_told_to_who_asked_for_it(wakeups):
    device, told = uuid4(), []
    wakeups.on["stream"] = lambda *arguments: told.append(arguments)

    wakeups.hear(f"{device} stream 17")

    assert told == [(device, "17")]
