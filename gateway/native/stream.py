"""The event stream of people and API keys."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

from django.http import StreamingHttpResponse
from django.http.response import HttpResponseBase
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request

from accounts.api.base import PortalView, visible_or_404
from accounts.policy import Action
from commands.models import CommandBatch
from common import clock, limits
from devices.models import Device
from gateway.people.watcher import Watcher, moment_of
from gateway.people.watching import WATCHING, Watching, opening
from releases.models import Rollout

_ABOUT: dict[str, Any] = {"rollout": Rollout, "device": Device, "batch": CommandBatch}
_DESCRIPTION = f"""Server-sent events: what happens in the organisation, within about a second.

`hello` {{server_time, organization}} comes first, and then how each rollout that is under way
stands. `rollout` and `batch` tell where one stands now, `rollout_event` and `device_event` what
happened; with `rollout`, `device` or `batch` in the query only what concerns that one is told, and
in detail: each `update` and `command`. `missed` says that more happened than is told: fetch what
matters anew. `bye` {{retry_ms}} ends a stream: after {limits.STREAM_LIFE_S} s, or because the
caller's rights have changed. A comment every {limits.STREAM_COMMENT_S} s keeps the connection.

Who comes back with `Last-Event-ID` within ten minutes is told the events of the time between; one
may come twice, its `id` is the same. A caller has at most {limits.STREAMS_PER_CALLER} streams
(429 `too_many_streams`). Events of other names may be added: pass them over.
"""


class StreamQuery(serializers.Serializer):
    """What the stream is about; nothing named is everything."""

    rollout = serializers.UUIDField(required=False)
    device = serializers.UUIDField(required=False)
    batch = serializers.UUIDField(required=False)


class StreamEvent(serializers.Serializer):
    """One event; `data` is JSON. An `id` is the moment of sending, microseconds since 1970."""

    id = serializers.CharField()
    event = serializers.CharField()
    # A serializer has a member of this name, which only an input uses.
    data: Any = serializers.CharField()
    retry = serializers.IntegerField(required=False)


class Events:
    """The body of a stream under ASGI; closing it gives the place back."""

    def __init__(self, watching: Watching, watcher: Watcher) -> None:
        self._watching = watching
        self._watcher = watcher

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._watching.events(self._watcher)

    def close(self) -> None:
        self._watching.leave(self._watcher)


class PeopleStream(PortalView):
    """What happens, as it happens."""

    actions = {"GET": Action.ROLLOUT_READ}
    serializer_class = StreamQuery

    @extend_schema(
        operation_id="stream",
        description=_DESCRIPTION,
        parameters=[
            StreamQuery,
            OpenApiParameter("Last-Event-ID", OpenApiTypes.STR, OpenApiParameter.HEADER),
        ],
        responses={(200, "text/event-stream"): StreamEvent},
    )
    def get(self, request: Request) -> HttpResponseBase:
        """Open a stream; a process that keeps none tells what is, and says good-bye."""
        query = StreamQuery(data=request.query_params)
        query.is_valid(raise_exception=True)
        watcher = Watcher(
            self.principal,
            frozenset(self._found(name, pk) for name, pk in query.validated_data.items()),
            moment_of(request.headers.get("Last-Event-ID", ""), clock.now()),
        )
        watching = getattr(request._request, "scope", {}).get(WATCHING)
        body: Any
        if watching is None:
            now, missed, news = opening(watcher)
            body = [watcher.hello(now, news, missed=missed), watcher.bye()]
        else:
            watching.admit(watcher)
            body = Events(watching, watcher)
        return StreamingHttpResponse(
            body,
            content_type="text/event-stream; charset=utf-8",
            # A proxy that gathers answers would keep the events to itself.
            headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
        )

    def _found(self, name: str, pk: UUID) -> UUID:
        rows = _ABOUT[name].objects.all()
        found: UUID = visible_or_404(rows, self.principal, pk=pk).pk
        return found
