"""The same server doing nothing: reads the body and answers as many bytes."""

from typing import Any

_BODY = (
    b'{"ack":true,"commands_pending":0,"target_version":"1.1.0",'
    b'"server_time":"2026-01-01T00:00:00.000000Z","next_heartbeat_s":60.0}'
)
_HEADERS = [
    (b"content-type", b"application/json"),
    (b"content-length", b"%d" % len(_BODY)),
    (b"x-request-id", b"0123456789abcdef-0000"),
]


async def application(scope: dict[str, Any], receive: Any, send: Any) -> None:
    if scope["type"] != "http":
        return
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
    await send({"type": "http.response.body", "body": _BODY})
