"""Long answers with bounded memory, under WSGI and ASGI alike."""

from collections.abc import AsyncIterator, Iterator
from itertools import islice

from asgiref.sync import sync_to_async
from django.http import HttpRequest, StreamingHttpResponse

_LINES_AT_ONCE = 500


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
