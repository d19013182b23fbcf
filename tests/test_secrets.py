"""A secret is shown once. It never turns up in a log, an answer, an export, a metric or a table."""

import io
import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import structlog
from django.contrib import admin
from django.db import connection
from django.test import Client
from psycopg import sql
from rest_framework.test import APIClient

from accounts.models import Organization
from accounts.policy import Role
from accounts.tests.factories import MembershipFactory, OrganizationFactory, UserFactory
from common.ids import secret_token
from common.logs import SHARED_PROCESSORS, mask_text
from tests.identities import new_client
from tests.routes import found_routes, parameters

PASSWORD = "Okapi-quagga-zebra-1971"


@dataclass
class Issued:
    """Every kind of secret the portal gives out, and who uses them."""

    organization: Organization
    client: Client
    log: io.StringIO
    secrets: dict[str, str] = field(default_factory=dict)
    answers: dict[str, bytes] = field(default_factory=dict)

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        """Send a request with what the person holds; keep the answer."""
        response = APIClient(raise_request_exception=False).generic(
            method,
            path,
            json.dumps(body) if body is not None else "",
            content_type="application/json",
            headers=headers or {"Authorization": f"Bearer {self.secrets['access']}"},
        )
        content = b"".join(response.streaming_content) if response.streaming else response.content
        self.answers[f"{method} {path} {len(self.answers)}"] = content
        return json.loads(content) if content.startswith(b"{") else content

    def found_in(self, text: str) -> list[str]:
        """Return the names of the secrets that stand in a text."""
        return [name for name, secret in self.secrets.items() if secret in text]


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """Everything the portal logs, from DEBUG up, in the form it leaves the process."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processor=structlog.processors.JSONRenderer(), foreign_pre_chain=SHARED_PROCESSORS
        )
    )
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield stream
    root.setLevel(level)
    root.removeHandler(handler)


@pytest.fixture
def issued(db: None, log: io.StringIO, settings: Any) -> Issued:
    """Sign in, issue a key and an enrolment token, enrol a device, rotate its token, refresh."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    organization = OrganizationFactory(slug="okapi")
    user = UserFactory(email="owner@example.org")
    user.set_password(PASSWORD)
    user.save()
    MembershipFactory(organization=organization, user=user, role=Role.ADMIN)
    client = new_client()
    client.force_login(user, "accounts.backends.PortalBackend")
    found = Issued(organization=organization, client=client, log=log)
    _issue(found)
    found.answers.clear()
    return found


def _issue(found: Issued) -> None:
    kept = found.secrets
    kept["password"] = PASSWORD
    signed_in = found.call(
        "POST", "/api/v1/auth/token", {"email": "owner@example.org", "password": PASSWORD}, Any="1"
    )
    kept["spent refresh"] = signed_in["refresh"]
    again = found.call("POST", "/api/v1/auth/refresh", {"refresh": signed_in["refresh"]}, Any="1")
    kept["access"], kept["refresh"] = again["access"], again["refresh"]
    key = found.call("POST", "/api/v1/api-keys", {"name": "a key", "role": "admin"})
    kept["API key"] = key["key"]
    token = found.call("POST", "/api/v1/enrollment-tokens", {"name": "a token", "max_uses": 9})
    kept["enrolment token"] = token["token"]
    device = found.call(
        "POST",
        "/api/v1/devices/register",
        {"device_id": "studio-1", "enrollment_token": token["token"]},
        Any="1",
    )
    kept["device token"] = device["token"]
    rotated = found.call(
        "POST",
        "/api/v1/devices/studio-1/token/rotate",
        {},
        **{"X-Device-Token": device["token"]},
    )
    kept["next device token"] = rotated["token"]
    member = found.call("POST", "/api/v1/users", {"email": "new@example.org", "role": "viewer"})
    kept["first password"] = member["first_password"]


def _use_and_misuse(found: Issued) -> None:
    """Send every secret where it belongs, where it does not, and in a form that is refused."""
    kept = found.secrets
    for name, secret in kept.items():
        for header in ("X-API-Key", "X-Device-Token", "Authorization", "X-Organization"):
            value = f"Bearer {secret}" if header == "Authorization" else secret
            found.call("GET", "/api/v1/devices", **{header: value})
        body = {"email": "owner@example.org", "password": secret + "x", "totp": secret[:16]}
        found.call("POST", "/api/v1/auth/token", body, Any="1")
        found.call("POST", "/api/v1/auth/refresh", {"refresh": [secret]}, Any="1")
        found.call("POST", "/api/v1/auth/refresh", {"refresh": secret + "x"}, Any="1")
        refused = {"device_id": "studio 2", "enrollment_token": secret, "token_sha256": secret}
        found.call("POST", "/api/v1/devices/register", refused, Any="1")
        wrong = {"device_id": "studio-3", "enrollment_token": f"{secret}x"}
        found.call("POST", "/api/v1/devices/register", wrong, Any="1")
        assert name in kept


def _read_everything(found: Issued) -> None:
    device_paths = ["", "/heartbeats", "/events", "/commands", "/metrics"]
    lists = [
        "devices", "users", "api-keys", "enrollment-tokens", "device-groups", "commands", "bundles",
        "audits", "audits.csv", "organizations", "auth/me", "status", "metrics", "system-info",
    ]  # fmt: skip
    for path in [*lists, *[f"devices/studio-1{end}" for end in device_paths]]:
        found.call("GET", f"/api/v1/{path}")
    for path in ("metrics", "health", "ready", "schema"):
        found.call("GET", f"/{path}", Any="1")


def test_every_kind_of_secret_is_issued_here(issued: Issued):
    assert len(set(issued.secrets.values())) == len(issued.secrets)
    assert all(len(secret) > 15 for secret in issued.secrets.values())


def test_no_answer_and_no_log_line_holds_a_secret_that_was_given_out(issued: Issued):
    _use_and_misuse(issued)
    _read_everything(issued)

    assert len(issued.answers) > 80
    holding = {
        place: issued.found_in(content.decode("utf-8", "replace"))
        for place, content in issued.answers.items()
    }
    assert {place: names for place, names in holding.items() if names} == {}
    lines = issued.log.getvalue()
    assert lines.count("request_finished") > 80
    assert issued.found_in(lines) == []


def test_a_failure_inside_logs_no_secret(issued: Issued, monkeypatch: pytest.MonkeyPatch):
    def fail(**_: Any) -> None:
        raise RuntimeError(f"broken while looking at {issued.secrets['device token']}")

    monkeypatch.setattr("devices.services.enrollment.device_enroll_with_token", fail)
    body = {"device_id": "studio-2", "enrollment_token": issued.secrets["enrolment token"]}

    answer = issued.call("POST", "/api/v1/devices/register", body, Any="1")

    assert answer["code"] == "internal_error"
    assert issued.found_in(json.dumps(answer)) == []
    assert "RuntimeError" in issued.log.getvalue()
    assert issued.found_in(issued.log.getvalue()) == []


def test_no_table_holds_a_secret(issued: Issued):
    with connection.cursor() as cursor:
        cursor.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1")
        tables = [name for (name,) in cursor.fetchall()]
        dump = ""
        for table in tables:
            statement = sql.SQL("COPY (SELECT * FROM {}) TO STDOUT").format(sql.Identifier(table))
            with cursor.copy(statement) as copy:
                dump += "".join(bytes(part).decode() for part in copy)

    assert len(tables) > 25
    assert "studio-1" in dump
    assert issued.found_in(dump) == []
    # The part that tells secrets apart is short.
    assert issued.secrets["API key"][:24] not in dump


def test_no_page_of_the_console_holds_a_secret(issued: Issued):
    for route in found_routes():
        if route.name.startswith(("admin:", "console:")) and not parameters(route.path):
            path = "/" + route.path
            if "^" not in path and "(?P" not in path and not path.endswith("logout/"):
                response = issued.client.get(path)
                content = (
                    b"".join(response.streaming_content) if response.streaming else response.content
                )
                issued.answers[path] = content

    assert len(issued.answers) > len(admin.site._registry)
    holding = {
        place: issued.found_in(content.decode("utf-8", "replace"))
        for place, content in issued.answers.items()
    }
    assert {place: names for place, names in holding.items() if names} == {}


@pytest.mark.parametrize("kind", ["", "fk_", "et_", "rt_"])
def test_a_secret_in_a_line_of_text_is_masked(kind: str):
    secret = kind + secret_token()

    assert mask_text(f"refused {secret}, sent by studio-1") == "refused [masked], sent by studio-1"


def test_an_access_token_in_a_line_of_text_is_masked():
    token = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl"

    assert mask_text(f"refused {token}") == "refused [masked]"
