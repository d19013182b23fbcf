import os
import signal
import socket
import subprocess
from pathlib import Path

import psutil

from fleetsite.embedded.binaries import Programs
from fleetsite.embedded.errors import EmbeddedError
from fleetsite.embedded.layout import Home
from fleetsite.embedded.process import end, last_lines, processes_in, spawn, wait_until
from fleetsite.embedded.vault import write_private

START_PATIENCE = 60.0
STOP_PATIENCE = 5.0

SETTINGS = """\
# Written at every start.
port 0
unixsocket {sockets}/valkey.sock
unixsocketperm 700
requirepass {password}
dir {data}
daemonize no
databases 64
maxmemory-policy noeviction
appendonly {durable}
appendfsync everysec
# A crash may cut the last write short; what came before it is kept.
aof-load-truncated yes
save ""
"""


class EmbeddedValkey:
    """One Valkey server process on its own data. As with PostgreSQL, the caller holds the lock."""

    name = "valkey"

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
        self.data = home.private_directory("valkey")
        self.sockets = home.socket_directory()
        self._password = secrets["valkey_password"]
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"unix://:{self._password}@{self.socket}?db=0"

    @property
    def socket(self) -> Path:
        return self.sockets / "valkey.sock"

    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def start(self) -> None:
        """Start the server and wait until it has loaded its data.

        Raises EmbeddedError with the server's own last words when it does not come up.
        """
        self.launch()
        self.wait_ready()

    def launch(self) -> None:
        """Everything of `start` but the waiting."""
        self._end_leftovers()
        configuration = self.data / "valkey.conf"
        write_private(configuration, self._settings(), owner=self.home.account)
        self.process = spawn(
            [self.programs.valkey, configuration],
            log=self.log,
            cwd=self.data,
            environment={"PATH": os.defpath, "LC_ALL": "C"},
            death=signal.SIGTERM,
            account=self.home.account,
        )

    def wait_ready(self) -> None:
        wait_until(lambda: not self.is_running() or self._answers(), patience=START_PATIENCE)
        if not self.is_running() or not self._answers():
            said = last_lines(self.log, containing=("#", "ERROR"))
            self.stop()
            raise EmbeddedError(
                f"The embedded Valkey did not start: {said or 'it said nothing'} (see {self.log})."
            )

    def stop(self) -> None:
        """End the server; what it accepted is on disk."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(STOP_PATIENCE)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self._end_leftovers()
        if self.process is not None:
            self.process.wait(5)

    def processes(self) -> list[psutil.Process]:
        """The server, whoever started it; its command line shows its socket."""
        return processes_in(self.data, title=str(self.socket))

    def _settings(self) -> str:
        return SETTINGS.format(
            sockets=self.sockets,
            password=self._password,
            data=self.data,
            durable="yes" if self.durable else "no",
        )

    def _end_leftovers(self) -> None:
        end(self.processes(), number=signal.SIGTERM, patience=STOP_PATIENCE)
        self.socket.unlink(missing_ok=True)

    def _answers(self) -> bool:
        """Whether PING with the password is answered, which it is not while data is loading."""
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
                line.settimeout(2)
                line.connect(str(self.socket))
                line.sendall(f"AUTH {self._password}\r\nPING\r\n".encode())
                with line.makefile("rb") as answers:
                    return [answers.readline(256), answers.readline(256)] == [
                        b"+OK\r\n",
                        b"+PONG\r\n",
                    ]
        except OSError:
            return False
