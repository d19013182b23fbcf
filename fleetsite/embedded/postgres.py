import hashlib
import os
import shutil
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

import psutil

from fleetsite.embedded.binaries import Programs
from fleetsite.embedded.errors import EmbeddedError
from fleetsite.embedded.layout import Home
from fleetsite.embedded.process import end, last_lines, processes_in, spawn, wait_until
from fleetsite.embedded.vault import write_private

PORT = 5432  # only part of the socket's name: nothing listens on the network
DATABASE = "fleet"
FINGERPRINT_FILE = "fleet-fingerprint"
ROLE = "fleet"
PLAIN_ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}
# A crash may leave minutes of write-ahead log to replay.
START_PATIENCE = 120.0
STOP_PATIENCE = 6.0
READY_LINE = 7  # of postmaster.pid, counted from 0

SETTINGS = """\
# Written at every start.
listen_addresses = ''
port = {port}
unix_socket_directories = '{sockets}'
max_connections = 200
shared_buffers = '128MB'
password_encryption = 'scram-sha-256'
timezone = 'UTC'
log_timezone = 'UTC'
log_line_prefix = '%m [%p] %q%u@%d '
# A failed statement is not written to the log: it may carry a secret.
log_min_error_statement = panic
log_checkpoints = off
jit = off
fsync = {durable}
full_page_writes = {durable}
synchronous_commit = {durable}
"""
BOOTSTRAP = """\
CREATE ROLE {role} LOGIN CREATEROLE CREATEDB PASSWORD '{password}';

CREATE DATABASE {database} OWNER {role};

"""
NEW_PASSWORDS = """\
ALTER ROLE postgres PASSWORD '{postgres}';

ALTER ROLE {role} PASSWORD '{password}';

"""


class EmbeddedPostgres:
    """One PostgreSQL cluster and its server process.

    The caller holds whatever lock makes it the only user of the directory: `start` ends any
    server that a killed predecessor left on the same data.
    """

    name = "postgres"

    def __init__(
        self,
        *,
        home: Home,
        programs: Programs,
        secrets: dict[str, str],
        log: Path,
        durable: bool = True,
    ) -> None:
        self.home = home
        self.programs = programs
        self.log = log
        self.durable = durable
        self.data = home.root / "postgres"
        self.sockets = home.socket_directory()
        self._passwords = (secrets["postgres_password"], secrets["fleet_password"])
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return (
            f"postgresql://{ROLE}:{self._passwords[1]}@/{DATABASE}?host={self.sockets}&port={PORT}"
        )

    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def start(self) -> None:
        """Start the server on its data, made first if need be, and wait until it answers.

        Raises EmbeddedError with the server's own last words when it does not come up.
        """
        self.launch()
        self.wait_ready()

    def launch(self) -> None:
        """Everything of `start` but the waiting."""
        self._end_leftovers()
        if not self.data.exists():
            self._initialise()
        self._configure()
        self._match_passwords()
        self.process = spawn(
            [self.programs.postgres, "-D", self.data, f"--cluster_name={self.title}"],
            log=self.log,
            cwd=self.data,
            environment=PLAIN_ENVIRONMENT,
            death=signal.SIGINT,
            account=self.home.account,
        )

    def wait_ready(self) -> None:
        wait_until(lambda: not self.is_running() or self._is_ready(), patience=START_PATIENCE)
        if not self.is_running() or not self._is_ready():
            said = last_lines(self.log, containing=("FATAL", "PANIC", "ERROR")) or "it said nothing"
            self.stop()
            raise EmbeddedError(f"The embedded PostgreSQL did not start: {said} (see {self.log}).")

    def stop(self) -> None:
        """Fast shutdown: open transactions are rolled back, everything committed is kept."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(STOP_PATIENCE)
            except subprocess.TimeoutExpired:
                self.process.send_signal(signal.SIGQUIT)
        self._end_leftovers()
        if self.process is not None:
            self.process.wait(10)

    def processes(self) -> list[psutil.Process]:
        """The server and its children, whoever started them."""
        return processes_in(self.data, title=self.title)

    @property
    def title(self) -> str:
        """What the command line of every process of this cluster shows."""
        return f"fleet-{hashlib.sha256(str(self.data).encode()).hexdigest()[:16]}"

    def _is_ready(self) -> bool:
        lines = self._pid_file_lines()
        ours = self.process is not None and lines[:1] == [str(self.process.pid)]
        return ours and len(lines) > READY_LINE and lines[READY_LINE].strip() == "ready"

    def _pid_file_lines(self) -> list[str]:
        try:
            return (self.data / "postmaster.pid").read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError):
            return []

    def _end_leftovers(self) -> None:
        """End every server process on this data, then remove the files that name it.

        The pid in those files may belong to another program by now, and PostgreSQL would then
        refuse to start; whether a server is left is therefore read from the process table.
        """
        if not self.data.exists():
            return
        found = self.processes()
        named = self._pid_file_lines()[:1]
        masters = [process for process in found if [str(process.pid)] == named]
        if masters:
            end(masters, number=signal.SIGINT, patience=STOP_PATIENCE)
        # A server process without its master ends by itself unless it is in the middle of a query.
        end([p for p in found if p not in masters], number=signal.SIGQUIT, patience=STOP_PATIENCE)
        socket = self.sockets / f".s.PGSQL.{PORT}"
        for stale in (self.data / "postmaster.pid", socket, Path(f"{socket}.lock")):
            stale.unlink(missing_ok=True)

    def _initialise(self) -> None:
        """Make the cluster in a draft that gets its name when it is complete."""
        draft = self.home.root / "postgres.new"
        end(processes_in(draft, title=f"-D {draft}"), number=signal.SIGKILL, patience=1)
        shutil.rmtree(draft, ignore_errors=True)
        self.home.private_directory(draft.name)
        password_file = draft.with_suffix(".password")
        write_private(password_file, self._passwords[0] + "\n", owner=self.home.account)
        try:
            self._run_initdb(draft, password_file)
        finally:
            password_file.unlink()
        sql = BOOTSTRAP.format(role=ROLE, database=DATABASE, password=self._passwords[1])
        self._single_user(draft, sql)
        self._note_passwords(draft)
        draft.rename(self.data)

    def _run_initdb(self, target: Path, password_file: Path) -> None:
        options = [
            "--username=postgres",
            f"--pwfile={password_file}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
            "--locale=C",
            "--data-checksums",
        ]
        if not self.durable:
            options.append("--no-sync")
        command: list[str | Path] = [self.programs.initdb, "-D", target, *options]
        self._run(command, cwd=target, text="")

    def _single_user(self, target: Path, sql: str) -> None:
        """Run statements without a server; PostgreSQL ends each at an empty line (-j)."""
        command: list[str | Path] = [
            self.programs.postgres,
            "--single",
            "-j",
            "-D",
            target,
            "postgres",
        ]
        said = self._run(command, cwd=target, text=sql)
        if "ERROR:" in said or "FATAL:" in said:
            raise EmbeddedError(
                f"The embedded PostgreSQL refused its first statements (see {self.log})."
            )

    def _run(self, command: Sequence[str | Path], *, cwd: Path, text: str) -> str:
        account = self.home.account
        identity = {"user": account.uid, "group": account.gid} if account.switch else {}
        done = subprocess.run(  # type: ignore[call-overload]
            [str(part) for part in command],
            input=text,
            capture_output=True,
            text=True,
            cwd=cwd,
            env=PLAIN_ENVIRONMENT,
            umask=0o077,
            check=False,
            **(identity | ({"extra_groups": []} if identity else {})),
        )
        said: str = done.stderr
        with self.log.open("a", encoding="utf-8") as log:
            log.write(said)
        if done.returncode != 0:
            reason = last_lines(self.log, containing=("rror", "FATAL", "PANIC"))
            raise EmbeddedError(
                f"{Path(command[0]).name} ended with code {done.returncode}: "
                f"{reason or 'it said nothing'} (see {self.log})."
            )
        return said

    def _configure(self) -> None:
        settings = SETTINGS.format(
            port=PORT, sockets=self.sockets, durable="on" if self.durable else "off"
        )
        write_private(self.data / "postgresql.conf", settings, owner=self.home.account)

    def _fingerprint(self) -> str:
        return hashlib.sha256(":".join(self._passwords).encode()).hexdigest()

    def _note_passwords(self, data: Path) -> None:
        note = data / FINGERPRINT_FILE
        write_private(note, self._fingerprint(), owner=self.home.account)

    def _match_passwords(self) -> None:
        """Set the passwords anew when secrets.json was lost or replaced since the last start."""
        note = self.data / FINGERPRINT_FILE
        if note.exists() and note.read_text(encoding="utf-8") == self._fingerprint():
            return
        postgres, password = self._passwords
        sql = NEW_PASSWORDS.format(postgres=postgres, role=ROLE, password=password)
        self._single_user(self.data, sql)
        self._note_passwords(self.data)
