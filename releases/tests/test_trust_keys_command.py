"""The key ceremony as docs/keys.md prints it: files, passphrases, signatures, a tree for a CDN."""

import os
import re
import shlex
import subprocess
import sys
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from releases.errors import KeyRefused
from releases.services.manifests import reach_of
from releases.tests.trust import release_of
from releases.trust import ceremony

pytestmark = pytest.mark.django_db
PROJECT = Path(__file__).parents[2]
PASSPHRASE = "correct horse battery"


@pytest.fixture
def desk(tmp_path, monkeypatch) -> Path:
    """A folder to work in, with the passphrase in a file."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "passphrase").write_text(f"{PASSPHRASE}\n")
    monkeypatch.setenv("FLEET_KEY_PASSPHRASE_FILE", str(tmp_path / "passphrase"))
    return tmp_path


def keys(line: str) -> str:
    out = StringIO()
    call_command("keys", *shlex.split(line), stdout=out)
    return out.getvalue()


def alone(line: str) -> int:
    """Run a keeper's own program."""
    return ceremony.main(shlex.split(line))


def printed_commands() -> list[str]:
    """Return the commands of the ceremony in the documentation, in order."""
    text = (PROJECT / "docs" / "keys.md").read_text()
    section = text.split("## The ceremony")[1].split("\n## ")[0]
    lines = re.findall(r"^    (.+)$", section.replace("\\\n    ", ""), re.MULTILINE)
    return [re.sub(r"\s+", " ", line) for line in lines]


def test_the_ceremony_goes_as_it_is_printed(organization, desk):
    release = release_of(organization, "1.0.0")

    for line in printed_commands():
        if line.startswith("python -m releases.trust.ceremony "):
            assert alone(line.removeprefix("python -m releases.trust.ceremony ")) == 0, line
        else:
            assert line.startswith("manage.py keys "), line
            keys(line.removeprefix("manage.py keys "))

    assert "mode: offline" in keys("status acme")
    assert reach_of(release) == {"staged", "general"}
    assert (desk / "tree/metadata/timestamp.json").exists()


def test_a_keepers_program_needs_neither_django_nor_a_database(organization, desk):
    ceremony.key_files_write(out="ada", holder="Ada", passphrase=PASSPHRASE)
    keys("init acme --root ada.pub.json --general ada.pub.json")
    keys("payload acme root")
    program = (
        "import sys; sys.modules['django'] = None;"
        "from releases.trust.ceremony import main; sys.exit(main(sys.argv[1:]))"
    )

    done = subprocess.run(
        [sys.executable, "-c", program, "sign", "root.json", "--key", "ada.pem"],
        env={"PYTHONPATH": str(PROJECT), "FLEET_KEY_PASSPHRASE_FILE": str(desk / "passphrase")},
        cwd=desk,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert "root version 1" in done.stdout
    assert "(Ada)" in done.stdout
    assert "1 signed, 0 missing" in keys("import acme root.json")


def test_a_keeper_reads_which_role_a_file_is(organization, desk):
    release_of(organization, "1.0.0")
    for name in ("ada", "bob"):
        keys(f"create --holder {name} --out {name}")
    keys("init acme --root ada.pub.json --general bob.pub.json")

    for role in ("root", "targets", "general"):
        told = keys(f"payload acme {role}")
        assert told.startswith(f"{role} version ")
        assert told == keys(f"show {role}.json") + f"{role}.json: written. Sign it.\n"


def test_a_changed_key_of_the_portal_is_named_for_what_it_is(organization, desk, settings):
    release_of(organization, "1.0.0")
    assert "(the portal)" in keys("status acme")

    settings.SIGNING_KEY = "ab" * 32

    status = keys("status acme")
    assert "(not the portal's any more)" in status
    assert "SIGNING_KEY was changed" in status


def test_a_private_key_is_encrypted_and_its_owners_alone(desk):
    keys("create --holder Ada --out ada")

    assert "ENCRYPTED" in (desk / "ada.pem").read_text()
    assert os.stat(desk / "ada.pem").st_mode & 0o077 == 0
    with pytest.raises(CommandError, match="exists"):
        keys("create --holder Ada --out ada")


def test_a_wrong_passphrase_and_a_short_one_are_refused(desk):
    keys("create --holder Ada --out ada")

    with pytest.raises(KeyRefused, match="passphrase"):
        ceremony.signer_of((desk / "ada.pem").read_bytes(), "something else")
    with pytest.raises(KeyRefused, match="at least 12"):
        ceremony.key_create(holder="Ada", passphrase="short")


def test_a_public_file_that_was_changed_is_refused(desk):
    keys("create --holder Ada --out ada")
    keys("create --holder Bob --out bob")
    public = (desk / "ada.pub.json").read_text()
    other = ceremony.public_key((desk / "bob.pub.json").read_bytes())
    own = ceremony.public_key(public.encode())

    with pytest.raises(KeyRefused, match="changed"):
        ceremony.public_key(public.replace(own.keyid, other.keyid).encode())
    with pytest.raises(KeyRefused, match="no public key file"):
        ceremony.public_key(b"[]")


def test_what_cannot_be_done_is_a_sentence(organization, desk):
    (desk / "text").write_text("no metadata")
    for line, sentence in (
        ("status nobody", "no organisation nobody"),
        ("payload acme root", "Nothing of the role root waits"),
        ("import acme text", "no signed metadata"),
        ("import acme absent", "absent"),
        ("rotate acme --online", "keys init acme"),
        ("export acme --to tree", "Nothing is signed yet"),
    ):
        with pytest.raises(CommandError, match=sentence):
            keys(line)
