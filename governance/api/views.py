"""The audit log over REST."""

from typing import Any

from django.http import StreamingHttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework.generics import ListAPIView
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.base import PortalView
from accounts.policy import Action
from audit.models import AuditEntry
from common.errors import NotAllowed
from common.paging import CURSOR_FILTERS, Cursors
from common.streaming import streamed_file
from governance import services
from governance.api.filters import AuditFilter
from governance.api.serializers import AuditEntryOutput


class AuditView(PortalView):
    """Base of the log's endpoints."""

    def check_permissions(self, request: Request) -> None:
        """Keep out people limited to some groups: the log tells of every device."""
        super().check_permissions(request)
        if self.principal.limited:
            raise NotAllowed(
                "The audit log tells of every device, and your account is limited to some groups."
                " Ask an admin of the organisation."
            )


class Audits(AuditView, ListAPIView[AuditEntry]):
    """Who did what."""

    actions = {"GET": Action.AUDIT_READ}
    serializer_class = AuditEntryOutput
    queryset = AuditEntry.objects.none()
    filterset_class = AuditFilter
    pagination_class = Cursors
    filter_backends = CURSOR_FILTERS
    cursor_ordering = ("-at", "-seq")
    search_fields = ["actor", "action", "target"]

    def get_queryset(self) -> Any:
        """Only what the caller may see."""
        return AuditEntry.objects.visible_to(self.principal)

    @extend_schema(operation_id="audits_list")
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """List entries, newest first."""
        return super().get(request, *args, **kwargs)


class AuditsCsv(AuditView):
    """The log as a file that can be verified without the portal."""

    actions = {"GET": Action.AUDIT_READ}
    serializer_class = AuditEntryOutput
    queryset = AuditEntry.objects.none()
    filterset_class = AuditFilter
    pagination_class = None
    filter_backends = CURSOR_FILTERS

    @extend_schema(operation_id="audits_csv", responses={(200, "text/csv"): OpenApiTypes.STR})
    def get(self, request: Request) -> StreamingHttpResponse:
        """Stream the filtered log in chain order; taking a copy is itself written to the log."""
        visible = AuditEntry.objects.visible_to(self.principal)
        # Only what was read as a filter is noted: anything else may hold what no column can.
        known = AuditFilter.base_filters
        lines = services.audit_export(
            entries=self.filter_queryset(visible),
            filters={
                name: str(value) for name, value in request.query_params.items() if name in known
            },
            actor=self.principal,
        )
        return streamed_file(
            request._request, lines, name="audit.csv", content_type="text/csv; charset=utf-8"
        )
