from __future__ import annotations

import traceback

import pytest
from faulty_portal import ACCESS, API_KEY, PASSWORD, REFRESH, Reply, problem

from fleet_client import (
    AnswerUnusable,
    AsyncFleetClient,
    Conflict,
    FleetClient,
    FleetError,
    Forbidden,
    Invalid,
    NotFound,
    NotSignedIn,
    Refused,
    Unauthenticated,
)

SECRETS = (API_KEY, PASSWORD, ACCESS, REFRESH)
CREDENTIALS = [
    {"api_key": API_KEY},
    {"email": "ada@example.org", "password": PASSWORD},
    {"token": ACCESS, "refresh_token": REFRESH},
]


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, Invalid),
        (401, Unauthenticated),
        (403, Forbidden),
        (404, NotFound),
        (405, Refused),
        (409, Conflict),
        (413, Invalid),
        (422, Invalid),
    ],
)
def test_each_refusal_is_an_exception_of_its_own(portal, do, status, kind):
    portal.on("GET", "/commands/c-1", problem(status, "a_code", "Do this instead.", now="running"))

    with pytest.raises(kind, match="Do this instead") as caught:
        do(lambda fleet: fleet.commands.get("c-1"))

    error = caught.value
    assert type(error) is kind
    assert (error.status, error.code, error.detail) == (status, "a_code", "Do this instead.")
    assert error.problem["now"] == "running"


def test_refused_fields_are_named_with_their_reasons(portal, do):
    refusal = problem(
        422,
        "invalid",
        "Some fields were refused.",
        errors={"payload.service": ["is missing"]},
        headers={"X-Request-ID": "r-17"},
    )
    portal.on("POST", "/devices/kiosk-1/commands", refusal)

    with pytest.raises(Invalid) as caught:
        do(lambda fleet: fleet.commands.queue("kiosk-1", "restart_service"))

    assert caught.value.errors == {"payload.service": ["is missing"]}
    assert caught.value.request_id == "r-17"
    assert "payload.service: is missing" in str(caught.value)


@pytest.mark.parametrize(
    "answer", [Reply(b"<html>Sign in</html>"), Reply([1, 2]), Reply({"results": "none"})]
)
def test_what_is_no_answer_of_a_portal_is_said_to_be_none(portal, do, answer):
    portal.on("GET", "/devices", answer)
    portal.on("GET", "/devices/kiosk-1", answer if answer.body != {"results": "none"} else Reply(7))

    with pytest.raises(AnswerUnusable):
        do(lambda fleet: fleet.devices.get("kiosk-1"))
    if answer.body != [1, 2]:
        with pytest.raises(AnswerUnusable):
            do(lambda fleet: fleet.devices.list())


def test_control_characters_of_an_answer_do_not_reach_a_terminal(portal, do):
    portal.on("GET", "/devices/kiosk-1", problem(404, "not_found", "gone\x1b[2J\x07"))

    with pytest.raises(NotFound) as caught:
        do(lambda fleet: fleet.devices.get("kiosk-1"))

    assert "\x1b" not in str(caught.value)
    assert "\x07" not in str(caught.value)


@pytest.mark.parametrize("client", [FleetClient, AsyncFleetClient])
def test_no_secret_is_in_a_repr(client):
    made = [
        client("http://127.0.0.1:9", api_key=API_KEY),
        client("http://127.0.0.1:9", email="ada@example.org", password=PASSWORD),
        client("http://127.0.0.1:9", token=ACCESS, refresh_token=REFRESH),
    ]

    for one in made:
        shown = repr([one, vars(one), vars(one.core), one.core._credentials.store.load()])
        assert [secret for secret in SECRETS if secret in shown] == []


def shown_by_reporters(error: BaseException) -> str:
    """Return what a reporter of errors would send: the chain, and the locals of its frames."""
    texts = []
    chain: BaseException | None = error
    while chain is not None:
        texts += [str(chain), repr(chain), repr(vars(chain))]
        for frame, _line in traceback.walk_tb(chain.__traceback__):
            # The tests' own frames hold what they were given.
            if "/tests/" not in frame.f_code.co_filename:
                texts += [f"{name}={value!r}" for name, value in frame.f_locals.items()]
        chain = chain.__cause__ or chain.__context__
    return "\n".join(texts)


@pytest.mark.parametrize("credentials", CREDENTIALS, ids=["key", "password", "token"])
@pytest.mark.parametrize(
    "fault", [Reply(cut_after=0), problem(401, "not_allowed", "No."), Reply(b"<html>"), Reply({})]
)
def test_no_secret_is_in_an_exception_nor_in_the_frames_it_went_through(
    portal, do, fault, credentials
):
    for method, path in (("GET", "/devices"), ("POST", "/auth/token"), ("POST", "/auth/refresh")):
        portal.on(method, path, fault)

    with pytest.raises(FleetError) as caught:
        do(lambda fleet: fleet.devices.list(), **credentials)

    shown = shown_by_reporters(caught.value)
    assert [secret for secret in SECRETS if secret in shown] == []


def test_secrets_shown_once_are_there_and_not_in_the_repr(portal, do):
    portal.on("POST", "/api-keys", Reply({"id": "k-1", "name": "ci", "key": "fk_new"}, 201))

    key = do(lambda fleet: fleet.api_keys.create("ci", "operator"))

    assert key.key == "fk_new"
    assert "fk_new" not in repr(key)


def test_without_a_credential_nothing_is_sent(portal):
    with FleetClient(portal.url) as fleet, pytest.raises(NotSignedIn):
        fleet.devices.get("kiosk-1")

    assert portal.seen == []
