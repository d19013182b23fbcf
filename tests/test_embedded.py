"""The embedded servers: private, unprivileged, and back again whatever was done to them."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import psycopg
import pytest
import redis

from fleetsite.embedded import EmbeddedError, Servers, environment, start_for_tests
from fleetsite.embedded.account import Account, server_account
from fleetsite.embedded.process import processes_in

pytestmark = pytest.mark.xdist_group("waits")

PROJECT = Path(__file__).resolve().parents[1]


@contextmanager
def short_place() -> Iterator[Path]:
    """A short directory that the servers' account can enter, also when the tests run as root."""
    path = Path(tempfile.mkdtemp(prefix="fleet-test-", dir="/tmp"))
    path.chmod(0o755)
    yield path
    for name in ("postgres", "valkey"):
        for data in (path / "var" / "servers" / name, path / "outside" / "home" / name):
            for process in processes_in(data.resolve(), title=str(path)):
                process.kill()
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def place() -> Iterator[Path]:
    with short_place() as path:
        yield path


@pytest.fixture(scope="module")
def untouched() -> Iterator[Servers]:
    """Servers for the tests that only look at them."""
    with short_place() as place:
        servers = Servers(directory=place / "var")
        servers.start()
        yield servers
        servers.stop()


@pytest.fixture
def servers(place: Path) -> Iterator[Servers]:
    servers = Servers(directory=place / "var")
    servers.start()
    yield servers
    servers.stop()


def again(servers: Servers) -> Servers:
    """What the next start makes of the same directory."""
    fresh = Servers(directory=servers.directory)
    fresh.start()
    return fresh


def ask(servers: Servers, sql: str) -> tuple:
    with psycopg.connect(servers.urls()["DATABASE_URL"]) as connection:
        return connection.execute(sql).fetchone()


def remember(servers: Servers) -> None:
    with psycopg.connect(servers.urls()["DATABASE_URL"]) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    redis.Redis.from_url(servers.urls()["REDIS_URL"]).set("kept", "42")


def assert_remembered(servers: Servers) -> None:
    assert ask(servers, "SELECT answer FROM kept") == (42,)
    assert redis.Redis.from_url(servers.urls()["REDIS_URL"]).get("kept") == b"42"


def server_pids(servers: Servers) -> list[int]:
    return [part.process.pid for part in servers.parts if part.process is not None]


def kill_everything(servers: Servers) -> None:
    for part in servers.parts:
        found = part.processes()
        for process in found:
            process.kill()
        part.process.wait()
        psutil.wait_procs(found)


def test_the_database_is_durable_checked_and_closed_to_the_network(untouched):
    settings = ["fsync", "full_page_writes", "synchronous_commit", "data_checksums"]
    seen = ask(untouched, f"SELECT {', '.join(f'current_setting({s!r})' for s in settings)}")
    listening = ask(untouched, "SELECT current_setting('listen_addresses')")
    encoding = ask(untouched, "SELECT current_setting('server_encoding')")

    assert seen == ("on", "on", "on", "on")
    assert (listening, encoding) == (("",), ("UTF8",))


def test_the_portals_role_may_make_roles_and_databases_but_is_no_superuser(untouched):
    rights = (
        "SELECT rolcreaterole, rolcreatedb, rolsuper FROM pg_roles WHERE rolname = current_user"
    )

    assert ask(untouched, rights) == (True, True, False)


def test_a_wrong_password_is_refused_by_both(untouched):
    urls = {name: url.replace(untouched.secrets[secret], "0" * 64) for (name, url), secret in zip(
        untouched.urls().items(), ("fleet_password", "valkey_password"), strict=True)}  # fmt: skip

    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(urls["DATABASE_URL"])
    with pytest.raises(redis.AuthenticationError):
        redis.Redis.from_url(urls["REDIS_URL"]).ping()


def test_no_server_runs_as_root_or_names_a_secret_in_the_process_list(untouched):
    for pid in server_pids(untouched):
        process = psutil.Process(pid)
        shown = " ".join(process.cmdline())

        assert process.uids().effective != 0
        assert not [secret for secret in untouched.secrets.values() if secret in shown]


def test_secrets_and_sockets_are_open_to_their_owner_only(untouched):
    sockets = untouched.parts[0].sockets
    private = [untouched.directory / "secrets.json", untouched.directory / "run", sockets]

    assert [path.stat().st_mode & 0o077 for path in private] == [0, 0, 0]


def test_valkey_keeps_what_it_accepted_and_never_evicts(untouched):
    client = redis.Redis.from_url(untouched.urls()["REDIS_URL"])
    seen = client.config_get("appendonly") | client.config_get("maxmemory-policy")

    assert seen == {"appendonly": "yes", "maxmemory-policy": "noeviction"}


def test_everything_is_there_after_a_stop_and_a_start(servers):
    remember(servers)
    servers.stop()

    fresh = again(servers)

    assert_remembered(fresh)
    fresh.stop()


def test_everything_is_there_after_kill_9_of_every_process(servers):
    remember(servers)
    kill_everything(servers)

    fresh = again(servers)

    assert_remembered(fresh)
    fresh.stop()


def test_servers_left_running_by_a_killed_predecessor_are_replaced(servers):
    remember(servers)
    orphans = server_pids(servers)

    fresh = again(servers)

    assert_remembered(fresh)
    assert not [part for part in servers.parts if part.is_running()]
    assert not set(orphans) & set(server_pids(fresh))
    fresh.stop()


def test_a_stale_pid_file_that_names_another_program_does_not_stop_the_start(servers):
    account = server_account(data=servers.parts[0].data)
    who = {"user": account.uid, "group": account.gid, "extra_groups": []} if account.switch else {}
    innocent = subprocess.Popen(["sleep", "60"], **who)
    kill_everything(servers)
    pid_file = servers.parts[0].data / "postmaster.pid"
    lines = pid_file.read_text().splitlines()
    pid_file.write_text("\n".join([str(innocent.pid), *lines[1:]]) + "\n")
    lock = servers.parts[0].sockets / ".s.PGSQL.5432.lock"
    lock.write_text(pid_file.read_text())

    fresh = again(servers)

    assert ask(fresh, "SELECT 1") == (1,)
    assert innocent.poll() is None
    fresh.stop()
    innocent.kill()
    innocent.wait()


def test_an_initialisation_that_was_cut_off_is_done_again(place):
    servers = Servers(directory=place / "var")
    draft = servers.parts[0].home.root / "postgres.new"
    (draft / "base").mkdir(parents=True)
    (draft / "PG_VERSION").write_text("18\n")

    servers.start()

    assert ask(servers, "SELECT 1") == (1,)
    assert not draft.exists()
    servers.stop()


def test_a_last_write_that_was_cut_short_does_not_stop_valkey(servers):
    remember(servers)
    kill_everything(servers)
    (log,) = servers.parts[1].data.glob("appendonlydir/*.incr.aof")
    with log.open("ab") as tail:
        tail.write(b"*3\r\n$3\r\nSET\r\n$4\r\nlo")

    fresh = again(servers)

    assert_remembered(fresh)
    fresh.stop()


def test_lost_secrets_are_replaced_and_the_data_is_kept(servers):
    remember(servers)
    servers.stop()
    (servers.directory / "secrets.json").unlink()

    fresh = again(servers)

    assert fresh.secrets["fleet_password"] != servers.secrets["fleet_password"]
    assert_remembered(fresh)
    fresh.stop()


def test_unreadable_secrets_are_named_and_not_replaced(place):
    (place / "var").mkdir()
    (place / "var" / "secrets.json").write_text("{half")

    with pytest.raises(EmbeddedError, match=r"secrets\.json cannot be read"):
        Servers(directory=place / "var")


def test_a_path_too_long_for_a_socket_gets_a_short_one_that_is_private(place):
    servers = Servers(directory=place / ("long" * 25) / "var")

    servers.start()

    assert ask(servers, "SELECT 1") == (1,)
    assert servers.parts[0].sockets.stat().st_mode & 0o077 == 0
    fresh = Servers(directory=servers.directory)
    assert fresh.parts[0].sockets == servers.parts[0].sockets
    servers.stop()
    shutil.rmtree(servers.parts[0].sockets)


def test_servers_that_cannot_enter_the_project_get_data_and_programs_outside(place, monkeypatch):
    closed = [place / "var", Path(sys.prefix)]
    real = Account.can_enter

    def can_enter(self: Account, path: Path) -> bool:
        return not any(path.is_relative_to(one) for one in closed) and real(self, path)

    monkeypatch.setattr(Account, "can_enter", can_enter)
    monkeypatch.setenv("EMBEDDED_DIR", str(place / "outside"))
    servers = Servers(directory=place / "var")

    servers.start()

    assert ask(servers, "SELECT 1") == (1,)
    assert servers.parts[0].data.is_relative_to(place / "outside")
    assert servers.parts[0].programs.postgres.is_relative_to(place / "outside")
    assert servers.parts[1].programs.valkey.is_relative_to(place / "outside")
    servers.stop()


def test_a_second_process_finds_the_running_servers(untouched):
    found = environment(untouched.directory)

    assert found == {**untouched.urls(), **untouched.keys()}
    assert set(found) == {"DATABASE_URL", "REDIS_URL", "SECRET_KEY", "JWT_KEY", "SIGNING_KEY"}


def test_without_a_running_portal_the_next_step_is_named(place):
    with pytest.raises(EmbeddedError, match=r"start `make up` first or set DATABASE_URL"):
        environment(place / "var")


def test_two_test_runs_in_one_place_never_meet(place):
    first, stop_first = start_for_tests(place)
    second, stop_second = start_for_tests(place)

    assert first["DATABASE_URL"] != second["DATABASE_URL"]
    stop_first()
    stop_second()
    assert list(place.iterdir()) == []


def test_what_a_killed_test_run_left_is_removed_by_the_next(place):
    code = "import sys, time; from fleetsite.embedded import start_for_tests as s; " \
        "s(sys.argv[1]); print('up', flush=True); time.sleep(60)"  # fmt: skip
    killed = subprocess.Popen(
        [sys.executable, "-c", code, place], stdout=subprocess.PIPE, cwd=PROJECT
    )
    assert killed.stdout is not None
    assert killed.stdout.readline() == b"up\n"
    (abandoned,) = place.iterdir()
    killed.send_signal(signal.SIGKILL)
    killed.wait()

    _, stop = start_for_tests(place)

    assert not abandoned.exists()
    assert not processes_in(abandoned / "servers" / "postgres", title=str(abandoned))
    stop()


def test_a_command_runs_on_throw_away_servers_and_its_code_is_passed_on():
    code = "import os, sys; sys.exit(7 if 'host=' in os.environ['DATABASE_URL'] else 1)"
    bare = {name: value for name, value in os.environ.items() if not name.endswith("_URL")}

    done = subprocess.run(
        [sys.executable, "-m", "fleetsite.embedded", "run", "--", sys.executable, "-c", code],
        cwd=PROJECT, env=bare, check=False,
    )  # fmt: skip

    assert done.returncode == 7


def test_servers_and_supervisor_start_without_django():
    code = "import sys, fleetsite.embedded, fleetsite.supervisor; sys.exit('django' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], cwd=PROJECT, check=False).returncode == 0
