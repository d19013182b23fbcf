"""A gateway behind a real uvicorn on a socket, and a client that sends bytes as it is told to."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import uvicorn

from gateway.application import Gateway
from gateway.protocol import GatewayProtocol
from gateway.tests.door import PATIENCE_S, Door, stand_in_for_django
from tests.running_portal import eventually


class Watched(Gateway):
    """Notes the paths that came by ASGI."""

    def __init__(self) -> None:
        super().__init__(stand_in_for_django)
        self.by_asgi: list[str] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.by_asgi.append(scope["path"])
        await super().__call__(scope, receive, send)


@dataclass
class Heard:
    """One answer off the wire; header names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


class Line:
    """One connection."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)
        self._file = self._socket.makefile("rb")

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def hear(self) -> Heard:
        status = int(self._file.readline().split()[1])
        headers: dict[str, str] = {}
        while (line := self._file.readline().strip()) != b"":
            name, _, value = line.decode().partition(": ")
            headers[name.lower()] = value
        if headers.get("transfer-encoding") == "chunked":
            return Heard(status, headers, b"".join(self._chunks()))
        return Heard(status, headers, self._file.read(int(headers.get("content-length", "0"))))

    def _chunks(self) -> Iterator[bytes]:
        while size := int(self._file.readline(), 16):
            yield self._file.read(size)
            self._file.readline()
        self._file.readline()

    def is_closed(self) -> bool:
        """Wait for the server to hang up."""
        return self._file.read(1) == b""

    def hang_up(self) -> None:
        self._file.close()
        self._socket.close()


class Served(Door):
    """The gateway, behind ASGI as in `Door` and on a port at the same time."""

    gateway: Watched

    def __init__(self) -> None:
        super().__init__(Watched())
        listening = socket.create_server(("127.0.0.1", 0))
        self.port = listening.getsockname()[1]
        config = uvicorn.Config(
            self.gateway,
            http=GatewayProtocol,
            lifespan="off",
            access_log=False,
            log_config=None,
            timeout_keep_alive=1,
        )
        self.server = uvicorn.Server(config)
        self._serving = self.begin(self.server.serve(sockets=[listening]))
        eventually(lambda: self.server.started, within=PATIENCE_S, what="uvicorn's start")

    @contextmanager
    def line(self) -> Iterator[Line]:
        line = Line(self.port)
        yield line
        line.hang_up()

    def close(self) -> None:
        self.server.should_exit = True
        self._serving.result(PATIENCE_S)
        super().close()
