"""What every endpoint inherits: a right per method, visible rows, acts that are not repeated."""

from typing import Any, ClassVar

from django.core.exceptions import RequestDataTooBig
from django.http import Http404, HttpResponse
from django.http.request import RawPostDataException
from rest_framework.exceptions import NotAuthenticated, UnsupportedMediaType
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.permissions import HoldsRight, principal_of
from accounts.policy import DEVICE, POLICY, Action
from accounts.principals import Principal
from common import idempotency, limits
from common.db import is_undone
from common.ids import NIL_UUID
from common.parsers import BodyTooLarge

ACTING = frozenset({"POST", "PUT", "PATCH", "DELETE"})


class AnsweredBefore(Exception):
    """Leaves a view early: the request was performed before, and this was its answer."""

    def __init__(self, answer: idempotency.Answer) -> None:
        super().__init__("answered before")
        self.answer = answer


class PortalView(GenericAPIView[Any]):
    """An endpoint: `actions` names the right each method needs.

    Acts of people and API keys take an `Idempotency-Key`. A device's do not: what it sends has
    natural keys. The key is claimed in the request's transaction, so a subclass that acts must
    not opt out of it.
    """

    permission_classes = [HoldsRight]
    # OPTIONS would describe the rows; the schema describes the endpoints.
    metadata_class = None
    actions: ClassVar[dict[str, Action]] = {}
    _asked: idempotency.Asked | None = None

    @property
    def principal(self) -> Principal:
        """Whoever asks; the permission check has made sure of it."""
        principal = principal_of(self.request)
        if principal is None:
            raise NotAuthenticated
        return principal

    @classmethod
    def takes_idempotency_key(cls, method: str) -> bool:
        """Say whether the method acts and is open to others than devices."""
        if method not in ACTING or method not in cls.actions:
            return False
        return bool(POLICY.get(cls.actions[method], frozenset()) - {DEVICE})

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Let in who may, then look whether the request was performed before."""
        super().initial(request, *args, **kwargs)
        key = request.headers.get(idempotency.HEADER)
        method = str(request.method)
        if key is None or not self.takes_idempotency_key(method) or self._is_device():
            return
        asked = idempotency.Asked(
            key=key,
            organization_id=self.principal.organization_id or NIL_UUID,
            caller=f"{self.principal.kind} {self.principal.id}",
            method=method,
            path=request.get_full_path(),
            body=_raw_body(request),
        )
        answer = idempotency.begin(asked)
        if answer is not None:
            raise AnsweredBefore(answer)
        self._asked = asked

    def _is_device(self) -> bool:
        return self.principal.kind == "device"

    def handle_exception(self, exc: Exception) -> Response | HttpResponse:  # type: ignore[override]
        """Give the answer of before again; everything else is a refusal."""
        if not isinstance(exc, AnsweredBefore):
            return super().handle_exception(exc)
        return HttpResponse(
            exc.answer.body,
            status=exc.answer.status,
            headers={**exc.answer.headers, idempotency.REPLAYED: "true"},
        )

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        """Keep the answer beside its effect, in the same transaction."""
        response = super().finalize_response(request, response, *args, **kwargs)
        # What is rolled back takes its key along.
        if self._asked is not None and not is_undone():
            _keep(self._asked, response)
        return response


def _raw_body(request: Request) -> bytes:
    try:
        return bytes(request._request.body)
    except RequestDataTooBig:
        raise BodyTooLarge(
            f"The body is over {limits.BODY_BYTES} bytes. Send less at once."
        ) from None
    except RawPostDataException:
        # The check of a browser's CSRF token has read a form.
        raise UnsupportedMediaType(str(request.content_type)) from None


def _keep(asked: idempotency.Asked, response: Any) -> None:
    if response.streaming or response.status_code >= 500:
        idempotency.release(asked)
        return
    if hasattr(response, "render"):
        response.render()
    headers = {name: response[name] for name in idempotency.HEADERS_KEPT if name in response}
    idempotency.finish(
        asked,
        idempotency.Answer(status=response.status_code, body=response.content, headers=headers),
    )


def visible_or_404(queryset: Any, principal: Principal, **lookup: Any) -> Any:
    """Return the one visible row; a foreign row and an absent one give the same 404."""
    row = queryset.visible_to(principal).filter(**lookup).first()
    if row is None:
        raise Http404
    return row
