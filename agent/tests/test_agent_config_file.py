from __future__ import annotations

import stat
import threading

import pytest

from fleet_agent import conffile
from fleet_agent.errors import ConfigError
from fleet_agent.keys import KEYS
from fleet_agent.settings import ConfigStore, settings_from_text


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("KEY=plain", "plain"),
        ("  KEY = spaced  ", "spaced"),
        ('KEY="in quotes"', "in quotes"),
        ("KEY='single'", "single"),
        ("export KEY=exported", "exported"),
        ("KEY=", ""),
        ("KEY=a=b", "a=b"),
        ("KEY=value # why", "value"),
        ("KEY=with#hash", "with#hash"),
        ('KEY="a # b" # why', "a # b"),
        ("KEY=first\nKEY=second", "second"),
        ("\ufeffKEY=marked", "marked"),
        ("KEY=windows\r\n", "windows"),
        ("# KEY=no\n; KEY=no\n\nKEY=yes", "yes"),
    ],
)
def test_a_line_is_read_as_people_write_it(line, value):
    assert conffile.parse(line) == {"KEY": value}


def test_a_line_that_is_no_setting_is_refused_by_its_number():
    with pytest.raises(ConfigError, match="Line 2"):
        conffile.parse("KEY=1\nwhat is this\n")


def test_a_rewrite_keeps_comments_unknown_keys_and_order():
    text = "# mine\nMY_KEY='x y'\nLOG_LEVEL=INFO  # quiet\n\n; end\n"

    changed = conffile.rewrite(text, {"LOG_LEVEL": "DEBUG", "DEVICE_ID": "d1"})

    assert changed == "# mine\nMY_KEY='x y'\nLOG_LEVEL=DEBUG  # quiet\n\n; end\nDEVICE_ID=d1\n"


def test_a_rewrite_takes_out_every_line_of_a_key():
    assert conffile.rewrite("A=1\nB=2\nA=3\n", {"A": None}) == "B=2\n"
    assert conffile.rewrite("A=1\nB=2\nA=3\n", {"A": "4"}) == "A=4\nB=2\n"


@pytest.mark.parametrize("value", ["a\nFLEET_URL=http://evil", 'a"b', "a\x00"])
def test_a_value_cannot_smuggle_in_a_second_line(value):
    with pytest.raises(ConfigError, match="LOG_LEVEL"):
        conffile.rewrite("", {"LOG_LEVEL": value})


@pytest.mark.parametrize(
    ("key", "bad", "told"),
    [
        ("FLEET_ENABLED", "maybe", "true or false"),
        ("FLEET_URL", "ftp://x", "http://"),
        ("FLEET_URL", "https://user:pw@host", "without a user name"),
        ("FLEET_URL", "http://host:99999", "http://"),
        ("DEVICE_ID", "a/b", "1 to 64"),
        ("DEVICE_ID", ".hidden", "1 to 64"),
        ("HEARTBEAT_INTERVAL", "4", "5 to 3600"),
        ("HEARTBEAT_INTERVAL", "3601", "5 to 3600"),
        ("HEARTBEAT_INTERVAL", "-5", "5 to 3600"),
        ("HEARTBEAT_INTERVAL", "١٢", "5 to 3600"),
        ("COMMAND_POLL_INTERVAL", "1.5", "5 to 3600"),
        ("QUEUE_MAX_MB", "0", "1 to 1024"),
        ("LOG_LEVEL", "LOUD", "DEBUG, INFO"),
        ("ALLOWED_SERVICES", "nginx,../x", "unit names"),
        ("ALLOWED_SERVICES", "--force", "unit names"),
        ("STATE_DIR", "relative", "absolute"),
        ("CA_FILE", "ca.pem", "absolute"),
        ("VERSION_FILE", "v", "absolute"),
        ("ALLOW_REBOOT", "2", "true or false"),
    ],
)
def test_a_bad_value_is_refused_with_its_name_and_what_is_allowed(key, bad, told):
    with pytest.raises(ConfigError) as refusal:
        settings_from_text(f"{key}={bad}\n")

    assert key in str(refusal.value)
    assert told in str(refusal.value)


def test_a_bad_token_is_refused_without_showing_it():
    with pytest.raises(ConfigError) as refusal:
        settings_from_text("DEVICE_TOKEN=not/a/token\n")

    assert "not/a/token" not in str(refusal.value)


def test_every_bad_key_is_named_at_once():
    with pytest.raises(ConfigError, match=r"HEARTBEAT_INTERVAL.*LOG_LEVEL"):
        settings_from_text("HEARTBEAT_INTERVAL=x\nLOG_LEVEL=y\n")


def test_an_empty_file_gives_the_defaults():
    settings = settings_from_text("")

    assert settings.heartbeat_interval == 60
    assert settings.command_poll_interval == 30
    assert settings.allowed_services == ()
    assert settings.allow_reboot is False
    assert settings.is_enrolled is False


def test_settings_of_the_first_generation_are_understood():
    settings = settings_from_text(
        "FLEET_ENABLED=true\nFLEET_URL=https://fleet.example.org/\nDEVICE_ID=r58-studio-001\n"
        f"DEVICE_TOKEN={'ab' * 32}\nHEARTBEAT_INTERVAL=60\nCOMMAND_POLL_INTERVAL=30\n"
    )

    assert settings.is_enrolled
    assert settings.fleet_url == "https://fleet.example.org"


def test_what_is_shown_holds_no_secret():
    token = "ab" * 32

    shown = settings_from_text(f"DEVICE_TOKEN={token}\n").shown()

    assert token not in str(shown)
    assert shown["DEVICE_TOKEN"] == "set"
    assert set(shown) == set(KEYS)


def test_a_change_leaves_a_private_file_and_no_litter(make_store, tmp_path):
    store = make_store()

    store.change({"LOG_LEVEL": "DEBUG"})

    assert store.settings.log_level == "DEBUG"
    assert stat.S_IMODE(store.path.stat().st_mode) == 0o600
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fleet.conf", "state"]


def test_a_change_that_would_break_the_file_changes_nothing(make_store):
    store = make_store()
    before = store.text()

    with pytest.raises(ConfigError):
        store.change({"LOG_LEVEL": "DEBUG", "HEARTBEAT_INTERVAL": "1"})

    assert store.text() == before


def test_a_failing_disk_leaves_the_old_file(make_store, tmp_path, monkeypatch):
    store = make_store()
    before = store.text()

    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("fleet_agent.durable.os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        store.change({"LOG_LEVEL": "DEBUG"})

    assert store.text() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fleet.conf", "state"]


def test_a_reader_never_sees_half_a_file(make_store):
    store = make_store()
    done = threading.Event()
    broken = []

    def read():
        while not done.is_set():
            found = conffile.parse(store.path.read_text())
            if (
                found.get("LOG_LEVEL", "INFO") not in ("INFO", "DEBUG")
                or "DEVICE_TOKEN" not in found
            ):
                broken.append(found)

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(40):
        store.change({"LOG_LEVEL": ("INFO", "DEBUG")[number % 2]})
    done.set()
    reader.join()

    assert broken == []


def test_changes_from_two_sides_do_not_undo_each_other(make_store):
    one = make_store()
    other = ConfigStore(one.path)

    one.change({"LOG_LEVEL": "DEBUG"})
    other.change({"QUEUE_MAX_MB": "7"})

    assert one.refresh()
    assert (one.settings.log_level, one.settings.queue_max_mb) == ("DEBUG", 7)


def test_a_file_that_turns_bad_leaves_the_settings_and_is_told(make_store):
    store = make_store()

    store.path.write_text("HEARTBEAT_INTERVAL=nonsense\n")

    assert store.refresh() is False
    assert "HEARTBEAT_INTERVAL" in store.trouble
    assert store.settings.heartbeat_interval == 60


def test_an_absent_file_says_how_to_get_one(tmp_path):
    with pytest.raises(ConfigError, match="fleet-agent enroll"):
        ConfigStore(tmp_path / "fleet.conf")
