"""Reads a stream as an ASGI server would, while it goes on."""

import asyncio
import json
import time
from typing import Any

from gateway.tests.door import Call, Door

PATIENCE_S = 5.0


class Listening:
    """One open stream: what came so far, and whether it ended."""

    def __init__(self, door: Door, url: str, headers: dict[str, str]) -> None:
        self._door = door
        self._call = Call(url, headers=headers, method="GET")
        self.status = 0
        self.headers: dict[str, str] = {}
        self.text = ""
        self.ended = False
        self.takes = True
        # Something was to be sent while it did not take.
        self.blocked = False
        self._future = door.begin(self._listen())

    async def _listen(self) -> None:
        asked = False

        async def receive() -> dict[str, Any]:
            nonlocal asked
            if not asked:
                asked = True
                return {"type": "http.request", "body": b"", "more_body": False}
            await self._call.gone.wait()
            return {"type": "http.disconnect"}

        async def send(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start":
                self.status = message["status"]
                self.headers = {
                    name.decode().lower(): value.decode() for name, value in message["headers"]
                }
                return
            while not self.takes:
                self.blocked = True
                await asyncio.sleep(0.02)
            self.text += message.get("body", b"").decode()
            self.ended = not message.get("more_body")

        await self._door.gateway(self._call.scope(), receive, send)

    @classmethod
    def of_device(cls, door: Door, device_id: str, token: str, **headers: str) -> "Listening":
        """Open the stream of a device."""
        return cls(
            door, f"/api/v1/devices/{device_id}/stream", {"X-Device-Token": token, **headers}
        )

    @property
    def events(self) -> list[tuple[str, Any]]:
        """What was told: names and data."""
        found = []
        for block in self.text.split("\n\n"):
            lines = dict(line.split(": ", 1) for line in block.split("\n") if line)
            if "event" in lines:
                found.append((lines["event"], json.loads(lines["data"])))
        return found

    @property
    def ids(self) -> list[int]:
        return [int(line[4:]) for line in self.text.split("\n") if line.startswith("id: ")]

    def told(self, name: str) -> list[Any]:
        """Return the data of all events of this name."""
        return [data for event, data in self.events if event == name]

    def wait_for(self, name: str, times: int = 1) -> Any:
        """Return the data of the event, once it came that often."""
        deadline = time.monotonic() + PATIENCE_S
        while len(self.told(name)) < times:
            assert time.monotonic() < deadline, f"no {name} in {self.text!r}, status {self.status}"
            assert not self._future.done() or self.told(name), self.text
            time.sleep(0.01)
        return self.told(name)[times - 1]

    def hang_up(self) -> None:
        self._door.hang_up(self._call)

    def finish(self) -> None:
        """Wait until the gateway is through with the request."""
        self._future.result(PATIENCE_S)
