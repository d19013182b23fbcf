"""Signing in with the program `fleet`, and what it keeps."""

from __future__ import annotations

import stat
import time

import pytest
from faulty_portal import ACCESS, PASSWORD, REFRESH, Reply, problem

from fleet_client import FleetClient
from fleet_client.cli.profile import ProfileFile, ProfileTokens

ME = {"kind": "user", "label": "Ada", "organization": "acme", "role": "admin"}


@pytest.fixture
def profile(tmp_path):
    return tmp_path / ".config" / "fleet" / "config.toml"


def sign_in(portal):
    pair = {"access": ACCESS, "refresh": REFRESH, "expires_in": 900}
    portal.on("POST", "/auth/token", Reply(pair))
    portal.on("GET", "/auth/me", Reply(ME))


def test_login_keeps_tokens_in_a_file_of_the_owner_and_never_the_password(portal, fleet, profile):
    sign_in(portal)

    done = fleet("login", "--email", "ada@example.org", text=PASSWORD + "\n", FLEET_API_KEY=None)

    assert done.returncode == 0, done.stderr
    assert stat.S_IMODE(profile.stat().st_mode) == 0o600
    assert stat.S_IMODE(profile.parent.stat().st_mode) == 0o700
    assert PASSWORD not in profile.read_text()
    assert not [one for one in (ACCESS, REFRESH, PASSWORD) if one in done.stdout + done.stderr]

    who = fleet("whoami", FLEET_API_KEY=None, FLEET_URL=None)
    assert "Ada" in who.stdout
    assert portal.seen[-1].headers["authorization"] == f"Bearer {ACCESS}"


def test_login_with_a_key_reads_it_from_standard_input(portal, fleet, profile):
    portal.on("GET", "/auth/me", Reply(ME))

    done = fleet("login", portal.url, "--api-key", text="fk_piped\n", FLEET_API_KEY=None)

    assert done.returncode == 0, done.stderr
    assert "fk_piped" in profile.read_text()
    assert "fk_piped" not in done.stdout + done.stderr
    assert portal.seen[0].headers["x-api-key"] == "fk_piped"


def test_a_refused_sign_in_keeps_nothing(portal, fleet, profile):
    portal.on("POST", "/auth/token", problem(401, "wrong_credentials", "They do not match."))

    done = fleet("login", "--email", "ada@example.org", text="wrong\n", FLEET_API_KEY=None)

    assert done.returncode == 4
    assert not profile.exists()


def test_logout_forgets_one_profile_only(portal, fleet, profile):
    sign_in(portal)
    for name in ("default", "lab"):
        fleet(
            "--profile", name, "login", "--email", "a@example.org", text="x\n", FLEET_API_KEY=None
        )

    assert fleet("logout").returncode == 0

    assert fleet("whoami", FLEET_API_KEY=None).returncode == 4
    assert fleet("--profile", "lab", "whoami", FLEET_API_KEY=None).returncode == 0


def test_what_was_kept_for_one_portal_is_not_sent_to_another(portal, fleet):
    sign_in(portal)
    fleet("login", "--email", "a@example.org", text="x\n", FLEET_API_KEY=None)
    before = len(portal.seen)
    elsewhere = portal.url.replace("127.0.0.1", "localhost")

    done = fleet("whoami", FLEET_API_KEY=None, FLEET_URL=elsewhere)

    assert done.returncode == 4
    assert "not signed in at" in done.stderr
    assert len(portal.seen) == before


def test_a_file_that_is_none_is_named_without_its_lines(fleet, profile):
    profile.parent.mkdir(parents=True)
    profile.write_text('access = "fk_secret\n')

    done = fleet("whoami", FLEET_API_KEY=None)

    assert done.returncode == 1
    assert str(profile) in done.stderr
    assert "fk_secret" not in done.stderr


def test_two_programs_that_meet_the_end_of_a_token_use_the_refresh_token_once(portal, tmp_path):
    file = ProfileFile(tmp_path / "config.toml")
    ended = {"url": portal.url, "access": "ended", "refresh": REFRESH, "expires_at": time.time()}
    file.put("default", ended)
    portal.on(
        "POST", "/auth/refresh", Reply({"access": ACCESS, "refresh": "r2", "expires_in": 900})
    )
    portal.on("GET", "/auth/me", Reply(ME))
    first, second = (ProfileTokens(file, "default") for _ in range(2))

    for store in (first, second):
        with FleetClient(portal.url, token_store=store) as client:
            client.service.whoami()

    assert len(portal.asked("/auth/refresh")) == 1
    assert file.get("default")["refresh"] == "r2"
    assert file.get("default")["url"] == portal.url
