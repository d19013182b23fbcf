from __future__ import annotations

import stat
from dataclasses import replace

import pytest
from agent_process import run_cli
from portal_double import DEVICE, ENROLMENT_TOKEN, TOKEN, sha256

from fleet_agent import conffile
from fleet_agent.enrolment import Enrolment, enroll
from fleet_agent.errors import AgentError, PortalError
from fleet_agent.identity import default_device_id
from fleet_agent.keys import DEVICE_ID
from fleet_agent.rotation import resume_rotation, rotate_token


@pytest.fixture
def path(tmp_path):
    return tmp_path / "new" / "fleet.conf"


@pytest.fixture
def wanted(portal):
    return Enrolment(url=portal.url, token=ENROLMENT_TOKEN, device_id="lab-1", role="kiosk")


def values(path):
    return conffile.parse(path.read_text())


def registrations(portal):
    return [request for request in portal.requests if request[1].endswith("/register")]


def test_enrolment_writes_a_private_file_with_a_token_only_the_device_knows(portal, path, wanted):
    sentence = enroll(path, wanted)

    written = values(path)
    assert "lab-1" in sentence
    assert portal.tokens["lab-1"] == [sha256(written["DEVICE_TOKEN"])]
    assert len(written["DEVICE_TOKEN"]) == 64
    assert "DEVICE_TOKEN_PENDING" not in written
    assert written["HEARTBEAT_INTERVAL"] == "45"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert written["DEVICE_TOKEN"] not in str(registrations(portal))


def test_enrolment_tells_the_portal_what_the_machine_is(portal, path, wanted):
    enroll(path, wanted)

    device = portal.devices["lab-1"]
    assert device["platform"] == "linux"
    assert device["name"] == "lab-1"
    assert device["role"] == "kiosk"
    assert device["arch"]
    assert device["hostname"]
    assert device["ip_address"] == "127.0.0.1"


def test_a_lost_answer_is_made_good_by_running_it_again(portal, path, wanted):
    portal.fail("/register", kind="lose")
    with pytest.raises(AgentError, match="safe"):
        enroll(path, wanted)
    pending = values(path)["DEVICE_TOKEN_PENDING"]
    assert portal.tokens["lab-1"] == [sha256(pending)]

    enroll(path, wanted)

    assert values(path)["DEVICE_TOKEN"] == pending
    assert registrations(portal)[-1][2]["x-device-token"] == pending


def test_a_request_that_never_arrived_is_made_good_too(portal, path, wanted):
    portal.fail("/register", kind="drop")
    with pytest.raises(AgentError):
        enroll(path, wanted)
    # This portal does not ignore a token it does not know.
    portal.fail("/register", status=401)

    enroll(path, wanted)

    assert portal.tokens["lab-1"] == [sha256(values(path)["DEVICE_TOKEN"])]


def test_the_token_is_on_disk_before_the_portal_hears_of_it(portal, path, wanted):
    seen = []
    portal.fail("/register", count=1, when=lambda body: bool(seen.append(values(path))))

    enroll(path, wanted)

    assert seen[0]["DEVICE_TOKEN_PENDING"] == values(path)["DEVICE_TOKEN"]


def test_an_enrolled_device_that_enrols_again_keeps_its_token(portal, path, wanted):
    enroll(path, wanted)
    token = values(path)["DEVICE_TOKEN"]

    portal.devices["lab-1"]["name"] = "Lobby"
    enroll(path, Enrolment(url=portal.url, role="server"))

    assert values(path)["DEVICE_TOKEN"] == token
    assert portal.devices["lab-1"]["role"] == "server"
    assert portal.devices["lab-1"]["name"] == "Lobby"


def test_another_name_needs_the_word_replace(portal, path, wanted):
    enroll(path, wanted)
    other = Enrolment(url=portal.url, token=ENROLMENT_TOKEN, device_id="lab-2")
    with pytest.raises(AgentError, match="--replace"):
        enroll(path, other)

    enroll(path, Enrolment(**{**vars(other), "is_replacing": True}))

    assert values(path)["DEVICE_ID"] == "lab-2"
    assert portal.tokens["lab-2"] == [sha256(values(path)["DEVICE_TOKEN"])]


def test_a_pending_device_is_told_to_wait(portal, path, wanted):
    portal.lifecycle = "pending"

    assert "accept" in enroll(path, wanted)


@pytest.mark.parametrize(
    ("extra", "told"),
    [
        (("--token", "wrong-token-wrong-token"), "enrolment token"),
        (("--token", ENROLMENT_TOKEN, "--device-id", DEVICE), "exists already"),
        (("--token", ENROLMENT_TOKEN, "--url", "http://127.0.0.1:1"), "connection refused"),
        (("--token", ENROLMENT_TOKEN, "--url", "nonsense"), "FLEET_URL"),
        (("--token", ENROLMENT_TOKEN, "--device-id", "a b"), "DEVICE_ID"),
    ],
)
def test_a_refusal_is_a_sentence_and_an_exit_status(portal, path, extra, told):
    done = run_cli("enroll", "--url", portal.url, "--config", str(path), *extra)

    assert done.returncode == 1
    assert told in done.stderr
    assert "Traceback" not in done.stderr
    assert "wrong-token-wrong-token" not in done.stderr


def test_the_enrolment_token_can_come_by_environment_or_file(portal, path, tmp_path):
    portal.devices.pop(DEVICE)
    secret = tmp_path / "secret"
    secret.write_text(f"{ENROLMENT_TOKEN}\n")
    arguments = ("enroll", "--url", portal.url, "--config", str(path))

    by_file = run_cli(*arguments, "--token-file", str(secret), "--device-id", "by-file")
    by_env = run_cli(
        *arguments,
        "--device-id",
        "by-env",
        "--replace",
        env={"FLEET_ENROLLMENT_TOKEN": ENROLMENT_TOKEN},
    )

    assert (by_file.returncode, by_env.returncode) == (0, 0)
    assert set(portal.devices) == {"by-file", "by-env"}
    for done in (by_file, by_env):
        assert ENROLMENT_TOKEN not in done.stdout + done.stderr
        assert values(path)["DEVICE_TOKEN"] not in done.stdout + done.stderr


def test_the_default_name_is_valid_and_stays_the_same():
    assert DEVICE_ID.fullmatch(default_device_id())
    assert default_device_id() == default_device_id()


def test_rotation_replaces_the_token(portal, make_store):
    store = make_store()

    rotate_token(store)

    assert store.settings.device_token != TOKEN
    assert portal.tokens[DEVICE][-1] == sha256(store.settings.device_token)
    assert store.settings.device_token_pending is None


@pytest.mark.parametrize("kind", ["drop", "lose"])
def test_a_rotation_that_was_cut_off_is_finished_with_the_same_token(portal, make_store, kind):
    store = make_store()
    portal.fail("/token/rotate", kind=kind)
    with pytest.raises(PortalError):
        rotate_token(store)
    pending = store.settings.device_token_pending
    assert store.settings.device_token == TOKEN

    resume_rotation(store)

    assert store.settings.device_token == pending
    assert portal.tokens[DEVICE][-1] == sha256(pending)


def test_a_rotation_whose_new_token_was_used_already_is_finished(portal, make_store):
    store = make_store(DEVICE_TOKEN_PENDING="cd" * 32)
    portal.tokens[DEVICE] = [sha256("cd" * 32)]

    rotate_token(store)

    assert store.settings.device_token == "cd" * 32


def test_status_shows_everything_but_the_token(portal, write_config):
    done = run_cli("status", "--json", "--config", str(write_config()))
    text = run_cli("status", "--config", str(write_config()))

    assert (done.returncode, text.returncode) == (0, 0)
    assert '"reachable": true' in done.stdout
    assert '"queue_length": 0' in done.stdout
    assert '"running": false' in done.stdout
    assert TOKEN not in done.stdout + text.stdout


def test_status_of_an_unreachable_portal_says_so_and_fails(portal, write_config):
    path = write_config()
    portal.stop()

    done = run_cli("status", "--config", str(path))

    assert done.returncode == 1
    assert "connection refused" in done.stdout


def test_running_without_enrolment_is_refused_with_the_next_step(tmp_path):
    path = tmp_path / "fleet.conf"
    path.write_text("FLEET_ENABLED=true\n")

    done = run_cli("run", "--config", str(path))

    assert done.returncode == 78
    assert "fleet-agent enroll" in done.stderr


def test_updates_are_allowed_only_by_whoever_enrols_the_device(portal, path, wanted):
    enroll(path, wanted)
    assert values(path)["ALLOW_UPDATES"] == "false"

    enroll(path, replace(wanted, allows_updates=True))
    assert values(path)["ALLOW_UPDATES"] == "true"
