import re
import shlex
from datetime import timedelta
from pathlib import Path

import pytest
from django.test import Client

from accounts.models import Organization
from accounts.policy import Role
from accounts.principals import Principal
from accounts.tests.factories import member
from common import clock
from common.ids import secret_digest
from console.tests.browsers import browser_of, text_of
from console.views import agent
from console.views.add_device import commands_for
from devices.models import EnrollmentToken
from devices.services.enrollment import device_enroll_with_token
from devices.tests.factories import group_of

PAGE = "/console/add-device"
WANTED = {"name": "Lobby", "uses": "2", "ttl": "3600"}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "agent-dist").mkdir()
    monkeypatch.setattr(agent, "wheel_folder", lambda: tmp_path / "agent-dist")
    return tmp_path / "agent-dist"


def secret_in(page: str) -> str:
    return re.findall(r"et_[0-9a-f]{64}", page)[0]


def test_a_token_is_made_by_a_form_and_shown_once(admin: Principal):
    browser = browser_of(admin)

    before = browser.get(PAGE).content.decode()
    page = browser.post(PAGE, WANTED).content.decode()

    token = EnrollmentToken.objects.get()
    secret = secret_in(page)
    assert not re.search(r"et_[0-9a-f]{8}", before)
    assert bytes(token.sha256) == secret_digest(secret)
    assert (token.name, token.max_uses) == ("Lobby", 2)
    assert timedelta(minutes=59) < token.expires_at - clock.now() <= timedelta(hours=1)
    listed = browser.get("/admin/devices/enrollmenttoken/").content.decode()
    assert secret not in listed
    assert token.prefix in listed


@pytest.mark.parametrize("role", [Role.VIEWER, Role.OPERATOR])
def test_letting_devices_in_is_the_admins(organization: Organization, role: str):
    browser = browser_of(member(organization, role))

    assert browser.get(PAGE).status_code == 403
    assert browser.post(PAGE, WANTED).status_code == 403
    assert not EnrollmentToken.objects.exists()


def test_a_foreign_group_cannot_be_chosen(admin: Principal, stranger: Principal):
    theirs = group_of(stranger.organization, name="theirs")

    answer = browser_of(admin).post(PAGE, {**WANTED, "group": theirs.pk})

    assert answer.status_code == 200
    assert not EnrollmentToken.objects.exists()
    assert "theirs" not in text_of(browser_of(admin).get(PAGE))


@pytest.mark.parametrize(
    "wrong", [{"uses": "0"}, {"uses": "99999999"}, {"ttl": "5"}, {"name": ""}, {"uses": "x"}]
)
def test_a_token_beyond_its_bounds_is_refused(admin: Principal, wrong: dict[str, str]):
    answer = browser_of(admin).post(PAGE, {**WANTED, **wrong})

    assert answer.status_code == 200
    assert not EnrollmentToken.objects.exists()


def test_the_page_hears_of_the_devices_that_come_in(admin: Principal):
    browser = browser_of(admin)
    secret = secret_in(browser.post(PAGE, WANTED).content.decode())
    token = EnrollmentToken.objects.get()
    path = f"{PAGE}/{token.pk}/arrivals"

    before = browser.get(path).json()
    device, _ = device_enroll_with_token(
        secret=secret, fields={"device_id": "lobby-1"}, sha256=None, now=clock.now()
    )
    after = browser.get(path).json()

    assert before == {"uses": 0, "max_uses": 2, "devices": []}
    assert after["uses"] == 1
    assert after["devices"] == [{"device_id": "lobby-1", "url": f"/console/devices/{device.pk}"}]


def test_a_stranger_does_not_hear_of_them(admin: Principal, stranger: Principal):
    browser_of(admin).post(PAGE, WANTED)
    token = EnrollmentToken.objects.get()

    assert browser_of(stranger).get(f"{PAGE}/{token.pk}/arrivals").status_code == 404


@pytest.mark.parametrize("wheel", ["fleet_agent-0.1.0-py3-none-any.whl", None])
def test_the_line_keeps_the_token_out_of_every_list_of_processes(wheel: str | None):
    lines = commands_for(address="https://fleet.example.org", secret="et_secret", wheel=wheel)

    for line in lines.values():
        # What runs as a program of its own; echo is the shell's.
        programs = [part.strip() for part in re.split(r"&&|\|", line)]
        named = [part for part in programs if "et_secret" in part]
        assert named == ["echo et_secret"]
        assert all(shlex.split(part) for part in programs)
    assert "--url https://fleet.example.org" in lines["once"]


def test_the_line_names_the_address_of_the_portal(admin: Principal, settings):
    settings.FLEET_URL = "https://fleet.example.org"

    page = text_of(browser_of(admin).post(PAGE, WANTED))

    assert "--url https://fleet.example.org" in page
    assert "is this machine only" not in page


def test_a_loopback_address_is_replaced_by_the_browsers_or_warned_of(admin: Principal, settings):
    settings.FLEET_URL = "http://127.0.0.1:8000"
    browser = browser_of(admin)

    known = text_of(browser.post(PAGE, WANTED, headers={"host": "portal.lan:8000"}))
    local = text_of(browser.post(PAGE, WANTED, headers={"host": "127.0.0.1:8000"}))

    assert "--url http://portal.lan:8000" in known
    assert "is this machine only" in local


def test_the_wheel_is_handed_to_anybody(folder: Path):
    (folder / "fleet_agent-0.1.0-py3-none-any.whl").write_bytes(b"wheel")

    answer = Client().get("/agent/fleet_agent-0.1.0-py3-none-any.whl")

    assert b"".join(answer.streaming_content) == b"wheel"
    assert answer["Cache-Control"] == "public, max-age=300"


@pytest.mark.parametrize(
    "name",
    ["..%2fsecret", "secret.whl", "fleet_agent-1-py3-none-any.whl", "fleet-agent.conf", "%00"],
)
def test_nothing_else_is_handed_out(folder: Path, name: str):
    (folder / "secret.whl").write_bytes(b"secret")
    (folder.parent / "secret").write_bytes(b"secret")

    assert Client().get(f"/agent/{name}").status_code == 404


def test_the_unit_is_handed_to_anybody_and_fits_the_line():
    answer = Client().get("/agent/fleet-agent.service")

    assert answer.status_code == 200
    assert "ExecStart=/opt/fleet-agent/bin/fleet-agent run" in answer.content.decode()


def test_the_page_uses_the_newest_wheel(admin: Principal, folder: Path):
    (folder / "fleet_agent-0.2.0-py3-none-any.whl").write_bytes(b"wheel")

    page = text_of(browser_of(admin).post(PAGE, WANTED))

    assert "/agent/fleet_agent-0.2.0-py3-none-any.whl" in page
    assert "/agent/fleet-agent.service" in page
