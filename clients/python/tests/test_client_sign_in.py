"""Access tokens, and how they are renewed."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import anyio
import pytest
from faulty_portal import ACCESS, PASSWORD, REFRESH, Reply, problem

from fleet_client import (
    AsyncFleetClient,
    FleetClient,
    NotSignedIn,
    Tokens,
    Unauthenticated,
    Unreachable,
)

PERSON = {"email": "ada@example.org", "password": PASSWORD}
ME = Reply({"label": "Ada"})


def pair(access, refresh, expires_in=900):
    return Reply({"access": access, "refresh": refresh, "expires_in": expires_in})


def only_for(*tokens):
    """Answer who comes with one of the tokens."""

    def answer(request):
        if request.headers.get("authorization") in {f"Bearer {token}" for token in tokens}:
            return ME
        return problem(401, "authentication_failed", "The token has ended.")

    return answer


def whoami(fleet):
    return fleet.service.whoami()


def test_a_password_is_traded_for_a_token_at_the_first_call(portal, do):
    portal.on("POST", "/auth/token", pair(ACCESS, REFRESH))
    portal.on("GET", "/auth/me", only_for(ACCESS))

    assert do(whoami, **PERSON).label == "Ada"

    (asked,) = portal.asked("/auth/token")
    assert asked.body == PERSON
    assert asked.key is None


def test_a_token_the_portal_no_longer_takes_is_renewed_and_the_call_done(portal, do):
    portal.on("POST", "/auth/refresh", pair("access-two", "refresh-two"))
    portal.on("GET", "/auth/me", only_for("access-two"))

    assert do(whoami, token=ACCESS, refresh_token=REFRESH).label == "Ada"

    assert [request.body for request in portal.asked("/auth/refresh")] == [{"refresh": REFRESH}]


def test_a_token_about_to_end_is_renewed_before_it_is_used(portal, do):
    portal.on("POST", "/auth/token", pair(ACCESS, REFRESH, expires_in=1))
    portal.on("POST", "/auth/refresh", pair("access-two", "refresh-two"))
    portal.on("GET", "/auth/me", only_for("access-two"))

    async def later(fleet):
        await fleet.service.sign_in()
        return await fleet.service.whoami()

    def twice(fleet):
        if isinstance(fleet, AsyncFleetClient):
            return later(fleet)
        fleet.service.sign_in()
        return fleet.service.whoami()

    assert do(twice, **PERSON).label == "Ada"

    assert len(portal.asked("/auth/me")) == 1


def test_a_refused_refresh_token_leads_back_to_the_password(portal, do):
    portal.on("POST", "/auth/token", pair(ACCESS, REFRESH), pair("access-two", "refresh-two"))
    portal.on("POST", "/auth/refresh", problem(401, "refresh_refused", "It was spent."))
    portal.on("GET", "/auth/me", only_for("access-two"))

    assert do(whoami, **PERSON).label == "Ada"

    assert len(portal.asked("/auth/token")) == 2


def test_without_a_way_to_renew_the_refusal_is_raised(portal, do):
    portal.on("GET", "/auth/me", only_for("another"))

    with pytest.raises(Unauthenticated, match="The token has ended"):
        do(whoami, token=ACCESS)

    assert len(portal.seen) == 1


def test_a_refresh_whose_answer_was_lost_is_not_sent_again(portal, do):
    portal.on("POST", "/auth/refresh", Reply(cut_after=0))
    portal.on("GET", "/auth/me", only_for("another"))

    with pytest.raises(Unreachable):
        do(whoami, token=ACCESS, refresh_token=REFRESH)

    assert len(portal.asked("/auth/refresh")) == 1


def test_wrong_credentials_are_tried_once(portal, do):
    portal.on("POST", "/auth/token", problem(401, "wrong_credentials", "They do not match."))

    with pytest.raises(Unauthenticated) as caught:
        do(whoami, **PERSON)

    assert caught.value.code == "wrong_credentials"
    assert len(portal.seen) == 1


def test_threads_that_meet_the_end_of_a_token_together_renew_it_once(portal):
    together = threading.Barrier(4)
    first_calls = []

    def answer(request):
        if request.headers["authorization"] == f"Bearer {ACCESS}":
            first_calls.append(request)
            together.wait(5)
            return problem(401, "authentication_failed", "The token has ended.")
        return ME

    portal.on("GET", "/auth/me", answer)
    portal.on("POST", "/auth/refresh", pair("access-two", "refresh-two"))

    with (
        FleetClient(portal.url, token=ACCESS, refresh_token=REFRESH) as fleet,
        ThreadPoolExecutor(4) as pool,
    ):
        answers = list(pool.map(lambda _: fleet.service.whoami().label, range(4)))

    assert answers == ["Ada"] * 4
    assert len(first_calls) == 4
    assert len(portal.asked("/auth/refresh")) == 1


def test_tasks_that_meet_the_end_of_a_token_together_renew_it_once(portal):
    portal.on("GET", "/auth/me", only_for("access-two"))
    portal.on("POST", "/auth/refresh", pair("access-two", "refresh-two"))
    labels = []

    async def run():
        async with AsyncFleetClient(portal.url, token=ACCESS, refresh_token=REFRESH) as fleet:

            async def ask():
                labels.append((await fleet.service.whoami()).label)

            async with anyio.create_task_group() as group:
                for _ in range(4):
                    group.start_soon(ask)

    anyio.run(run)

    assert labels == ["Ada"] * 4
    assert len(portal.asked("/auth/refresh")) == 1


class EndedStore:
    """Holds an access token that ended in 1970, and nothing to renew it."""

    def lock(self):
        return threading.Lock()

    def load(self):
        return Tokens(ACCESS, "", 1.0)

    def save(self, _tokens):
        raise AssertionError("there is nothing to save")


def test_an_ended_token_without_a_refresh_token_asks_for_a_new_sign_in(portal, do):
    with pytest.raises(NotSignedIn, match="sign in again"):
        do(whoami, api_key=None, token_store=EndedStore())

    assert portal.seen == []
