from __future__ import annotations

from datetime import datetime, timezone

import pytest
from faulty_portal import API_KEY, Reply

from fleet_client import FleetClient

COMMAND = {"id": "c-1", "device_id": "kiosk-1", "type": "reboot", "status": "queued", "version": 1}


def test_a_device_is_read_and_what_is_new_on_the_wire_does_no_harm(portal, do):
    portal.on(
        "GET",
        "/devices/kiosk-1",
        Reply(
            {
                "device_id": "kiosk-1",
                "status": "healthy",
                "last_seen": "2026-03-01T12:00:00.5Z",
                "tags": ["lab"],
                "latest": {"cpu_percent": 12.5, "future": 1},
                "name": None,
                "future": {"a": 1},
            }
        ),
    )

    device = do(lambda fleet: fleet.devices.get("kiosk-1"))

    assert device.status == "healthy"
    assert device.last_seen == datetime(2026, 3, 1, 12, 0, 0, 500_000, tzinfo=timezone.utc)
    assert device.tags == ("lab",)
    assert device.name == ""
    assert device.latest.cpu_percent == 12.5
    assert device.raw["future"] == {"a": 1}


def test_an_acting_call_carries_a_key_of_its_own_and_a_reading_one_none(portal, do):
    portal.on("POST", "/devices/kiosk-1/commands", Reply(COMMAND, 201))
    portal.on("GET", "/commands/c-1", Reply(COMMAND))

    for _ in range(2):
        do(lambda fleet: fleet.commands.queue("kiosk-1", "reboot", {"delay_seconds": 5}))
    do(lambda fleet: fleet.commands.get("c-1"))

    first, second, reading = portal.seen
    assert first.key
    assert first.key != second.key
    assert reading.key is None
    assert first.headers["x-api-key"] == API_KEY


def test_options_go_along_and_what_was_not_said_is_not_sent(portal, do):
    portal.on("POST", "/devices/kiosk-1/commands", Reply(COMMAND, 201))
    noon = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)

    do(
        lambda fleet: fleet.commands.queue(
            "kiosk-1", "reboot", priority="high", not_before=noon, idempotency_key="mine"
        )
    )

    (request,) = portal.seen
    assert request.key == "mine"
    assert request.body == {
        "type": "reboot",
        "payload": {},
        "priority": "high",
        "not_before": "2026-03-01T12:00:00+00:00",
    }


def test_the_organisation_is_named_in_a_header(portal, do):
    portal.on("GET", "/auth/me", Reply({"label": "Ada", "organizations": ["acme", "globex"]}))

    me = do(lambda fleet: fleet.service.whoami(), organization="globex")

    assert me.organizations == ("acme", "globex")
    assert portal.seen[0].headers["x-organization"] == "globex"


def test_an_id_cannot_leave_its_place_in_the_path(portal, do):
    portal.on("GET", "/devices/a%2F..%2Fb", Reply({"device_id": "a/../b"}))

    do(lambda fleet: fleet.devices.get("a/../b"))

    for empty in ("", "..", "."):
        with pytest.raises(ValueError, match="no name or id"):
            do(lambda fleet, empty=empty: fleet.devices.get(empty))


def test_a_list_is_followed_by_page_number(portal, do):
    def pages(request):
        number = int(request.query.get("page", ["1"])[0])
        following = f"{portal.url}/api/v1/devices?page={number + 1}&status=offline"
        rows = [{"device_id": f"kiosk-{number}"}]
        return Reply({"count": 3, "next": following if number < 3 else None, "results": rows})

    portal.on("GET", "/devices", pages)

    found = do(lambda fleet: fleet.devices.iterate(status=["offline", "failed"], role=None))

    assert [device.device_id for device in found] == ["kiosk-1", "kiosk-2", "kiosk-3"]
    assert portal.seen[0].query == {"status": ["offline", "failed"]}


def test_a_list_is_followed_by_cursor_and_never_to_another_host(portal, do):
    def pages(request):
        if "cursor" in request.query:
            return Reply({"next": None, "results": [{"id": "c-2"}]})
        link = "https://elsewhere.example.org/api/v1/commands?cursor=a%2Bb%3D"
        return Reply({"next": link, "results": [{"id": "c-1"}]})

    portal.on("GET", "/commands", pages)

    found = do(lambda fleet: fleet.commands.iterate())

    assert [command.id for command in found] == ["c-1", "c-2"]
    assert portal.seen[1].query["cursor"] == ["a+b="]


def test_one_page_says_how_long_the_list_is(portal, do):
    portal.on("GET", "/devices", Reply({"count": 7, "next": "?page=2", "results": [{}]}))

    page = do(lambda fleet: fleet.devices.list(page_size=1))

    assert (page.count, len(page.items), page.next) == (7, 1, "?page=2")


def test_members_whose_names_are_words_of_python_are_read(portal, do):
    event = {"at": "2026-03-01T12:00:00Z", "from": "queued", "to": "delivered", "attempt": 1}
    portal.on("GET", "/commands/c-1/timeline", Reply({"events": [event], "attempts": []}))

    timeline = do(lambda fleet: fleet.commands.timeline("c-1"))

    assert timeline.events[0].from_status == "queued"
    assert timeline.events[0].to_status == "delivered"


def test_metrics_are_asked_for_by_the_names_on_the_wire(portal, do):
    answer = {"metric": "mem_percent", "step": 60, "points": [{"count": 2, "avg": 1.5}]}
    portal.on("GET", "/devices/kiosk-1/metrics", Reply(answer))

    metrics = do(
        lambda fleet: fleet.devices.metrics("kiosk-1", "mem_percent", since="2026-03-01T00:00:00Z")
    )

    assert metrics.points[0].avg == 1.5
    assert portal.seen[0].query == {"metric": ["mem_percent"], "from": ["2026-03-01T00:00:00Z"]}


def test_an_answer_without_a_body_is_enough_for_what_returns_nothing(portal, do):
    portal.on("DELETE", "/api-keys/k-1", Reply(b"", 204))

    assert do(lambda fleet: fleet.api_keys.revoke("k-1")) is None


@pytest.mark.parametrize(
    "address",
    ["portal.example.org", "ftp://portal", "https://", "https://me:secret@portal.example.org"],
)
def test_an_address_that_is_none_is_refused_without_repeating_it(address):
    with pytest.raises(ValueError, match="base_url") as refusal:
        FleetClient(address, api_key=API_KEY)

    assert "secret" not in str(refusal.value)


def test_the_address_may_end_with_the_prefix_of_the_api():
    with FleetClient("https://portal.example.org/fleet/api/v1/", api_key=API_KEY) as client:
        assert client.core.base_url == "https://portal.example.org/fleet"


def test_credentials_are_one_and_whole():
    for given in (
        {"api_key": "a", "token": "b"},
        {"email": "ada@example.org"},
        {"api_key": "two words"},
        {"api_key": "line\nbreak"},
    ):
        with pytest.raises(ValueError, match=r"api_key|email"):
            FleetClient("https://portal.example.org", **given)
