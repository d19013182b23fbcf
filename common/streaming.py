"""Long answers with bounded memory, under WSGI and ASGI alike."""

from collections.abc import AsyncIterator, Iterator
from itertools import islice
from typing import IO, Any

from asgiref.sync import sync_to_async
from django.http import HttpRequest, StreamingHttpResponse

_LINES_AT_ONCE = 500
_BYTES_AT_ONCE = 256 * 1024


def _take(lines: Iterator[str]) -> str:
    return "".join(islice(lines, _LINES_AT_ONCE))


async def _in_thread(lines: Iterator[str]) -> AsyncIterator[str]:
    while part := await sync_to_async(_take)(lines):
        yield part


def streamed_file(
    request: HttpRequest, lines: Iterator[str], *, name: str, content_type: str
) -> StreamingHttpResponse:
    """Return lines as a download that is produced while it is sent.

    Django collects a plain iterator whole before an ASGI server sends it, so there it is stepped
    through from the request's own thread, where its database connection lives.
    """
    body = _in_thread(lines) if hasattr(request, "scope") else lines
    return StreamingHttpResponse(
        body,
        content_type=content_type,
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


class _Bytes:
    """At most `length` bytes of an open file, from where it stands."""

    def __init__(self, file: IO[bytes], length: int) -> None:
        self._file = file
        self._left = length

    def close(self) -> None:
        self._file.close()

    def take(self) -> bytes:
        piece = self._file.read(min(self._left, _BYTES_AT_ONCE))
        self._left -= len(piece)
        return piece


class _BytesForThread(_Bytes):
    def __iter__(self) -> Iterator[bytes]:
        while piece := self.take():
            yield piece


class _BytesForLoop(_Bytes):
    """Only asynchronous: what can be iterated both ways Django collects whole."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while piece := await sync_to_async(self.take, thread_sensitive=False)():
            yield piece


def streamed_bytes(
    request: HttpRequest, file: IO[bytes], *, length: int, **fields: Any
) -> StreamingHttpResponse:
    """Return `length` bytes of an open file, a piece in memory at a time. Closes the file."""
    kind = _BytesForLoop if hasattr(request, "scope") else _BytesForThread
    return StreamingHttpResponse(kind(file, length), **fields)
