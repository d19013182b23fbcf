"""Django behind ASGI: a request is answered in one call of one thread."""

from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIHandler
from django.http import HttpRequest
from django.http.response import HttpResponseBase


class OneThreadHandler(ASGIHandler):
    """Django's handler with middleware and views, none of which awaits, called as they are.

    Its own way is to go to the thread and back for every middleware and the view: over ten changes
    between two threads for one request.
    """

    def load_middleware(self, is_async: bool = False) -> None:  # noqa: FBT001, FBT002 - Django says so
        """Load the chain as for WSGI."""
        super().load_middleware(is_async=False)

    async def get_response_async(self, request: HttpRequest) -> HttpResponseBase:
        """Answer in the request's thread."""
        return await sync_to_async(self.get_response, thread_sensitive=True)(request)
