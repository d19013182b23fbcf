"""`manage.py up` with real processes: it starts, mends itself, refuses plainly, and ends."""

import http.client
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import psutil
import psycopg
import pytest

from fleetsite.embedded.process import die_with_parent
from fleetsite.embedded.servers import environment
from fleetsite.embedded.vault import read_secrets
from fleetsite.supervisor import preflight
from fleetsite.supervisor.children import MARK, end_orphans
from fleetsite.supervisor.errors import UpError
from fleetsite.supervisor.machine import change_config, read_config
from fleetsite.supervisor.options import masked, options_from

pytestmark = pytest.mark.xdist_group("waits")

PROJECT = Path(__file__).resolve().parents[1]
PROCESSES = ["postgres", "valkey", "gateway", "worker", "bundle-worker", "beat", "agent"]
OWN_SETTINGS = {
    "DATABASE_URL", "REDIS_URL", "SECRET_KEY", "JWT_KEY", "SIGNING_KEY",
    "DJANGO_SETTINGS_MODULE", "FLEET_URL",
}  # fmt: skip


def eventually(condition: Callable[[], bool], *, within: float) -> bool:
    deadline = time.monotonic() + within
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Up:
    """One `manage.py up` on a directory of its own."""

    def __init__(self, var_dir: Path, *, port: int, **settings: str) -> None:
        self.var_dir = var_dir
        self.port = port
        bare = {name: value for name, value in os.environ.items() if name not in OWN_SETTINGS}
        self.environ = bare | {"VAR_DIR": str(var_dir), "PORT": str(port)} | settings
        self.lines: list[str] = []

    def start(self) -> None:
        """Start and read on until it says that it is done."""
        self.lines = []
        self.process = subprocess.Popen(
            [sys.executable, "manage.py", "up"], cwd=PROJECT, env=self.environ, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            preexec_fn=die_with_parent(signal.SIGTERM),
        )  # fmt: skip
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.strip())
            if line.startswith("Ctrl-C"):
                return
        pytest.fail("up ended early: " + "\n".join(self.lines))

    def stop(self) -> int:
        self.process.terminate()
        return self.process.wait(15)

    def refuse(self) -> SimpleNamespace:
        """Start where a refusal is expected; return its code and its words."""
        done = subprocess.run(
            [sys.executable, "manage.py", "up"], cwd=PROJECT, env=self.environ, text=True,
            capture_output=True, stdin=subprocess.DEVNULL, timeout=60, check=False,
        )  # fmt: skip
        return SimpleNamespace(code=done.returncode, said=done.stderr, shown=done.stdout)

    def said(self, label: str) -> list[str]:
        return [line.removeprefix(label).strip() for line in self.lines if line.startswith(label)]

    def pid(self, name: str) -> int | None:
        try:
            return int((self.var_dir / "run" / f"{name}.pid").read_text())
        except (OSError, ValueError):
            return None

    def is_healthy(self) -> bool:
        return self.asks("/health")

    def asks(self, path: str) -> bool:
        """Say whether the page answers well."""
        line = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            line.request("GET", path)
            return line.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            line.close()

    def marked(self) -> list[psutil.Process]:
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get(MARK) == str(self.var_dir):
                    found.append(process)
            except psutil.Error:
                continue
        return found


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """A short directory that the servers' account can enter, also when the tests run as root."""
    path = Path(tempfile.mkdtemp(prefix="fleet-up-", dir="/tmp"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="module")
def running(place: Path) -> Iterator[Up]:
    up = Up(place / "var", port=free_port())
    up.start()
    first_lines = list(up.lines)
    up.first = SimpleNamespace(lines=first_lines, password=up.said("Password:"))
    yield up
    if up.process.poll() is None:
        up.stop()
    end_orphans(up.var_dir)


@pytest.fixture
def up(running: Up) -> Up:
    """The running portal, healthy at the start of every test."""
    if running.process.poll() is not None:
        running.start()
    assert eventually(running.is_healthy, within=20)
    return running


def is_alive(pid: int | None) -> bool:
    return pid is not None and psutil.pid_exists(pid)


def assert_one_sentence(refusal: SimpleNamespace) -> None:
    assert refusal.code == 1
    assert "Traceback" not in refusal.said
    assert len(refusal.said.strip().splitlines()) == 1
    assert refusal.said.strip().endswith((".", "up."))


def test_the_first_start_says_where_the_portal_is_and_how_to_sign_in(up):
    labels = [line.partition(":")[0] + ":" for line in up.first.lines]

    assert f"URL: http://127.0.0.1:{up.port}" in up.first.lines
    assert labels.count("E-mail:") == labels.count("Password:") == 1
    assert len(up.first.password[0]) >= 16


def test_every_process_has_a_pid_file_that_names_it(up):
    pids = {name: up.pid(name) for name in PROCESSES}

    assert [name for name, pid in pids.items() if not is_alive(pid)] == []


def test_no_generated_secret_is_in_a_log_or_a_process_list(up):
    secrets = [*read_secrets(up.var_dir / "secrets.json").values(), *up.first.password]
    logs = "".join(path.read_text(errors="replace") for path in up.var_dir.glob("logs/*"))
    shown = "".join(" ".join(process.cmdline()) for process in up.marked())

    assert not [secret for secret in secrets if secret in logs + shown]


def test_the_agent_is_given_none_of_the_portals_secrets(up):
    environ = psutil.Process(up.pid("agent")).environ()

    assert not {"DATABASE_URL", "REDIS_URL", "SECRET_KEY", "JWT_KEY", "SIGNING_KEY"} & set(environ)


def test_this_machine_may_not_be_rebooted_by_its_own_portal(up):
    config = read_config(up.var_dir / "agent" / "fleet.conf")

    assert (config["ALLOW_REBOOT"], config["ALLOWED_SERVICES"]) == ("false", "*")
    assert config["FLEET_URL"] == f"http://127.0.0.1:{up.port}"


def test_a_command_in_another_terminal_finds_the_running_servers(up):
    bare = {name: value for name, value in up.environ.items() if name != "PORT"}
    done = subprocess.run(
        [sys.executable, "manage.py", "migrate", "--check"], cwd=PROJECT, env=bare, check=False,
        capture_output=True, text=True,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr


def test_many_requests_leave_few_sessions_in_the_database(up):
    url = environment(up.var_dir)["DATABASE_URL"]
    assert eventually(lambda: up.asks("/ready"), within=30)
    with ThreadPoolExecutor(16) as callers:
        assert all(callers.map(lambda _: up.asks("/ready"), range(160)))
    with psycopg.connect(url) as connection:
        row = connection.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'fleet-portal'"
        ).fetchone()

    assert 0 < row[0] <= 30


@pytest.mark.parametrize("name", [name for name in PROCESSES if name != "agent"])
def test_a_killed_process_is_replaced(up, name):
    killed = up.pid(name)
    os.kill(killed, signal.SIGKILL)

    assert eventually(lambda: up.pid(name) != killed and is_alive(up.pid(name)), within=10)
    assert eventually(up.is_healthy, within=15)
    assert up.process.poll() is None


def test_a_killed_worker_leaves_no_children_behind(up):
    pool = psutil.Process(up.pid("worker")).children(recursive=True)
    os.kill(up.pid("worker"), signal.SIGKILL)

    assert eventually(lambda: not [one for one in pool if one.is_running()], within=10)


def test_a_second_start_names_the_process_and_the_address_of_the_first(up):
    refusal = Up(up.var_dir, port=free_port()).refuse()

    assert_one_sentence(refusal)
    assert f"process {up.process.pid} at http://127.0.0.1:{up.port}" in refusal.said


def test_a_taken_port_is_named_with_a_free_one(up, place):
    refusal = Up(place / "other", port=up.port).refuse()

    assert_one_sentence(refusal)
    assert f"Port {up.port} on 127.0.0.1 is taken" in refusal.said
    assert re.search(r"PORT=\d+ make up", refusal.said)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("postgresql://fleet:hunter2secret@127.0.0.1:1/fleet", "does not answer"),
        ("postgresql://fleet:hunter2secret%zz@127.0.0.1/fleet", "is not a PostgreSQL URL"),
        ("mysql://fleet:hunter2secret@127.0.0.1/fleet", "is not a PostgreSQL URL"),
    ],
)
def test_a_wrong_database_url_is_refused_without_its_password(place, url, words):
    refusal = Up(place / "wrong", port=free_port(), DATABASE_URL=url).refuse()

    assert_one_sentence(refusal)
    assert "DATABASE_URL" in refusal.said
    assert words in refusal.said
    assert "hunter2secret" not in refusal.said + refusal.shown


def test_a_given_database_url_keeps_the_embedded_postgresql_away(place):
    up = Up(place / "wrong", port=free_port(), DATABASE_URL="postgresql://a@127.0.0.1:1/a")

    assert "postgres" not in up.refuse().shown


def test_a_data_directory_that_cannot_be_written_is_named():
    refusal = Up(Path("/proc/fleet"), port=free_port()).refuse()

    assert_one_sentence(refusal)
    assert "/proc/fleet cannot be written" in refusal.said


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ({"PORT": "99999"}, "PORT=99999 is not a port"),
        ({"PORT": "web"}, "PORT=web is not a port"),
        ({"HOST": "no.such.host.invalid"}, "HOST=no.such.host.invalid is not an address"),
        ({"ENROLL_THIS_MACHINE": "maybe"}, "ENROLL_THIS_MACHINE=maybe is neither"),
        ({"DATABASE_URL_FILE": "/no/such/file"}, "DATABASE_URL_FILE=/no/such/file cannot be read"),
    ],
)
def test_a_bad_setting_is_named_with_what_it_takes(setting, words):
    with pytest.raises(UpError, match=re.escape(words)):
        options_from(setting)


def test_a_full_disk_is_refused_with_the_free_space(place, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: SimpleNamespace(free=3 * 1024 * 1024))

    with pytest.raises(UpError, match="has 3 MB free and the portal needs 500 MB"):
        preflight.check_disk(place)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://a:b@c@host:1/d?password=e", "postgresql://a:***@host:1/d"),
        ("redis://:pw@host/0", "redis://:***@host/0"),
        ("postgresql://host/d", "postgresql://host/d"),
        ("host=x password=y", "a text that is not a URL"),
    ],
)
def test_a_shown_url_has_no_password(url, shown):
    assert masked(url) == shown


def test_a_persons_changes_to_fleet_conf_survive_the_next_start(tmp_path):
    config = tmp_path / "fleet.conf"
    config.write_text("# mine\nDEVICE_TOKEN=abc\nFLEET_URL=http://old\n")
    change_config(config, first={"ALLOW_REBOOT": "false"}, always={"FLEET_URL": "http://one"})
    config.write_text(config.read_text().replace("ALLOW_REBOOT=false", "ALLOW_REBOOT=true"))

    change_config(config, first={"ALLOW_REBOOT": "false"}, always={"FLEET_URL": "http://two"})

    assert config.read_text().startswith("# mine\n")
    assert read_config(config) == {
        "DEVICE_TOKEN": "abc", "ALLOW_REBOOT": "true", "FLEET_URL": "http://two",
    }  # fmt: skip
    assert config.stat().st_mode & 0o077 == 0


def test_a_killed_agent_stays_away_long_enough_to_be_seen_offline(up):
    os.kill(up.pid("agent"), signal.SIGKILL)

    assert any(
        line.strip() == "agent was ended by SIGKILL; it stays away for 300 s."
        for line in up.process.stdout
    )
    assert up.stop() == 0


def test_a_stop_ends_everything_and_the_next_start_is_quick_and_shows_no_password(up):
    began = time.monotonic()
    code = up.stop()

    assert code == 0
    assert time.monotonic() - began < 10
    assert up.marked() == []
    assert list(up.var_dir.glob("run/*.pid")) == []

    began = time.monotonic()
    up.start()

    assert up.is_healthy()
    assert time.monotonic() - began < 15
    assert up.said("URL:") == [f"http://127.0.0.1:{up.port}"]
    assert up.said("Password:") == up.said("E-mail:") == []


def test_a_killed_up_takes_its_programs_with_it_and_the_next_start_recovers(up):
    programs = [psutil.Process(up.pid(name)) for name in PROCESSES]
    up.process.kill()
    up.process.wait()

    assert eventually(lambda: not [one for one in programs if one.is_running()], within=15)
    up.start()
    assert up.is_healthy()
    assert eventually(lambda: is_alive(up.pid("agent")), within=10)


def test_everything_killed_at_once_is_recovered_by_the_next_start(up):
    for process in [psutil.Process(up.process.pid), *map(psutil.Process, map(up.pid, PROCESSES))]:
        process.kill()
    up.process.wait()

    up.start()

    assert up.is_healthy()
    assert up.said("Password:") == []
