"""Support bundles over REST: listed, looked into, searched, compared, downloaded."""

from typing import Any
from uuid import UUID

from django.http import FileResponse
from django_filters import rest_framework as filters
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework.exceptions import ValidationError
from rest_framework.generics import ListAPIView
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.base import PortalView, visible_or_404
from accounts.policy import Action
from commands.api.bundle_serializers import (
    BundleDetailOutput,
    BundleOutput,
    CompareOutput,
    LinesOutput,
    LinesQuery,
    SearchOutput,
    SearchQuery,
)
from commands.bundles.answers import archive_response
from commands.bundles.comparing import bundle_compare, others_of
from commands.bundles.reading import bundle_lines, bundle_read, bundle_search, first_text
from commands.models import SupportBundle
from common.filters import MomentFilter
from common.paging import CURSOR_FILTERS, Cursors


class BundleFilter(filters.FilterSet):
    """Narrow the list of bundles. Moments are RFC 3339."""

    device_id = filters.CharFilter(field_name="device__device_id", max_length=64)
    command_id = filters.UUIDFilter(field_name="command_id")
    status = filters.MultipleChoiceFilter(choices=SupportBundle.Status.choices)
    created_after = MomentFilter(field_name="created_at", lookup_expr="gte")
    created_before = MomentFilter(field_name="created_at", lookup_expr="lt")

    class Meta:
        model = SupportBundle
        fields: list[str] = []


class Bundles(PortalView, ListAPIView[SupportBundle]):
    """Support bundles devices sent."""

    actions = {"GET": Action.BUNDLE_READ}
    serializer_class = BundleOutput
    queryset = SupportBundle.objects.none()
    filterset_class = BundleFilter
    pagination_class = Cursors
    filter_backends = CURSOR_FILTERS
    search_fields = ["device__device_id"]

    def get_queryset(self) -> Any:
        """Only what the caller may see; what is in them is left to the detail."""
        rows = SupportBundle.objects.visible_to(self.principal).select_related("device")
        return rows.defer("manifest", "redactions", "findings")

    @extend_schema(operation_id="bundles_list")
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """List bundles, newest first."""
        return super().get(request, *args, **kwargs)


class OneBundleView(PortalView):
    """Base of endpoints about one bundle."""

    actions = {"GET": Action.BUNDLE_READ}
    serializer_class: Any = BundleOutput

    def bundle(self, pk: str) -> SupportBundle:
        """Return the visible bundle or raise 404."""
        rows = SupportBundle.objects.select_related("device", "organization")
        found: SupportBundle = visible_or_404(rows, self.principal, pk=pk)
        return found


class Bundle(OneBundleView):
    """One bundle."""

    serializer_class = BundleDetailOutput

    @extend_schema(operation_id="bundles_read")
    def get(self, _request: Request, pk: str) -> Response:
        """Return the bundle with its files, redactions and findings."""
        return Response(BundleDetailOutput(self.bundle(pk)).data)


class BundleFiles(OneBundleView):
    """The text files of a bundle."""

    serializer_class = LinesOutput

    @extend_schema(operation_id="bundles_files", parameters=[LinesQuery])
    def get(self, request: Request, pk: str) -> Response:
        """Return lines of one file; 422 `not_text` for one that is not text."""
        bundle = self.bundle(pk)
        asked = LinesQuery(data=request.query_params)
        asked.is_valid(raise_exception=True)
        given = asked.validated_data
        tail = given.get("tail")
        page = bundle_lines(
            bundle,
            path=given.get("path") or first_text(bundle),
            offset=-tail if tail else given["offset"],
            limit=tail or given["limit"],
        )
        return Response(LinesOutput(page).data)


class BundleSearch(OneBundleView):
    """Finding a text in a bundle."""

    serializer_class = SearchOutput

    @extend_schema(operation_id="bundles_search", parameters=[SearchQuery])
    def get(self, request: Request, pk: str) -> Response:
        """Return the lines that hold the text, with those around them."""
        bundle = self.bundle(pk)
        asked = SearchQuery(data=request.query_params)
        asked.is_valid(raise_exception=True)
        given = asked.validated_data
        found = bundle_search(
            bundle, query=given["q"], path=given["path"], context=given["context"]
        )
        return Response(SearchOutput(found).data)


class BundleCompare(OneBundleView):
    """Holding a bundle against others."""

    serializer_class = CompareOutput

    @extend_schema(
        operation_id="bundles_compare",
        parameters=[
            OpenApiParameter(
                "with",
                OpenApiTypes.STR,
                default="good",
                description="Id of a bundle; `good`: the last one this device sent while healthy;"
                " `peers`: the newest of other healthy devices of its role.",
            )
        ],
    )
    def get(self, request: Request, pk: str) -> Response:
        """Return the differences; 409 `nothing_to_compare` when there is no such bundle."""
        bundle = self.bundle(pk)
        against = against_of(request.query_params.get("with", "good"))
        others = others_of(bundle, principal=self.principal, against=against)
        told = {"compared_with": others, **bundle_compare(bundle, others)}
        return Response(CompareOutput(told).data)


def against_of(given: str) -> str:
    """Return what a bundle is held against, or refuse (422)."""
    if given in {"good", "peers"}:
        return given
    try:
        return str(UUID(given))
    except ValueError:
        raise ValidationError({"with": ["Give the id of a bundle, good or peers."]}) from None


class BundleDownload(OneBundleView):
    """The archive of a bundle."""

    @extend_schema(
        operation_id="bundles_download",
        responses={(200, "application/zip"): OpenApiResponse(OpenApiTypes.BINARY)},
    )
    def get(self, _request: Request, pk: str) -> FileResponse:
        """Return the kept archive as an attachment; the download is written to the log."""
        bundle = self.bundle(pk)
        return archive_response(bundle, bundle_read(bundle=bundle, actor=self.principal))
