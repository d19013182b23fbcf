"""The first administrator's password comes from the environment, or from a file it names."""

import json
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from accounts.models import User


def bootstrapped():
    out = StringIO()
    call_command("portal_bootstrap", stdout=out)
    return json.loads(out.getvalue())


def test_the_password_may_lie_in_a_file(db, monkeypatch, tmp_path):
    kept = tmp_path / "password"
    kept.write_text("a rather long password\n")
    monkeypatch.delenv("FLEET_ADMIN_PASSWORD", raising=False)
    monkeypatch.setenv("FLEET_ADMIN_PASSWORD_FILE", str(kept))

    assert bootstrapped()["created"] is True
    assert User.objects.get().check_password("a rather long password")


def test_a_file_that_is_not_there_stops_the_start(db, monkeypatch, tmp_path):
    monkeypatch.delenv("FLEET_ADMIN_PASSWORD", raising=False)
    monkeypatch.setenv("FLEET_ADMIN_PASSWORD_FILE", str(tmp_path / "missing"))

    with pytest.raises(CommandError, match="FLEET_ADMIN_PASSWORD_FILE"):
        bootstrapped()
    assert not User.objects.exists()
