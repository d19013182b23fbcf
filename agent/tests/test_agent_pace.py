from __future__ import annotations

from datetime import datetime, timedelta, timezone
from email.utils import format_datetime

import pytest
from portal_double import TOKEN

from fleet_agent.errors import PortalError
from fleet_agent.pace import Backoff, retry_after_s
from fleet_agent.portal import PortalClient


def test_waits_are_spread_over_a_doubling_range_with_a_cap():
    widest = []
    for failures in range(12):
        waits = []
        for _ in range(200):
            backoff = Backoff()
            backoff.failures = failures
            waits.append(backoff.delay_s())
        assert min(waits) >= 0.1
        assert max(waits) <= min(120, 2 * 2**failures)
        widest.append(max(waits))
        assert min(waits) < 0.2 * min(120, 2 * 2**failures) + 0.1

    assert widest[-1] > 90


def test_retry_after_is_kept_and_stretched_by_at_most_a_tenth():
    error = PortalError("busy", status=503, retry_after_s=30.0)

    waits = [Backoff().delay_s(error) for _ in range(100)]

    assert min(waits) >= 30
    assert max(waits) <= 33


@pytest.mark.parametrize("status", [401, 403, 404])
def test_what_only_a_person_can_cure_is_tried_slowly(status):
    assert 60 <= Backoff().delay_s(PortalError("no", status=status)) <= 120


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7.0),
        ("0.5", 0.5),
        ("-3", 0.0),
        ("99999999", 3600.0),
        ("nan", None),
        ("soon", None),
        ("", None),
        (None, None),
    ],
)
def test_the_seconds_of_a_retry_after_are_read(header, seconds):
    assert retry_after_s(header) == seconds


def test_the_date_of_a_retry_after_is_read():
    later = datetime.now(timezone.utc) + timedelta(seconds=100)

    assert retry_after_s(format_datetime(later, usegmt=True)) == pytest.approx(100, abs=3)


def test_the_token_does_not_follow_a_redirect(portal, make_store):
    portal.fail("/heartbeat", status=302, headers={"Location": f"{portal.url}/elsewhere"})
    client = PortalClient(make_store())

    with pytest.raises(PortalError, match="FLEET_URL"):
        client.call("POST", client.device_path("heartbeat"), body={})

    assert [request[1] for request in portal.requests] == ["/api/v1/devices/kiosk-7/heartbeat"]


def test_a_login_page_in_between_is_no_answer(portal, make_store):
    portal.fail("/health", status=200)
    client = PortalClient(make_store(FLEET_URL=f"{portal.url}"))
    portal.fail("/heartbeat", kind="drop")

    with pytest.raises(PortalError) as error:
        client.call("POST", client.device_path("heartbeat"), body={})

    assert error.value.status is None
    assert error.value.is_temporary
    assert TOKEN not in str(error.value)
