"""Bundles as devices, people and holders of a link get them: in pieces, and cached for ever."""

from typing import Any

from django.conf import settings
from django.db import transaction
from django.http import Http404, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.decorators import method_decorator
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.base import PortalView
from accounts.policy import Action
from common import clock
from common.db import connection_release
from common.ranges import Range, RangeUnsatisfiable, matches, range_of
from common.streaming import streamed_bytes
from devices.models import Device
from releases.api.artifact_serializers import ChecksumsOutput, LinkQuery
from releases.models import ANY_ROLE, Artifact, Release, TrustTarget
from releases.selectors import named, of_role
from releases.services.signed_links import Signed, link_open
from releases.storages import bundle_open, is_local
from releases.trust.paths import manifest_path, trust_of

BUNDLE_TYPE = "application/gzip"
# A bundle never changes under its checksum.
CACHED = "private, max-age=31536000, immutable"


class OneArtifactView(PortalView):
    """Base of endpoints about the bundle a role gets of a release."""

    actions = {"GET": Action.ARTIFACT_READ}

    def artifact(self, role: str, release: str) -> Artifact:
        """Return the visible bundle or raise 404; a device reaches its own role's and `any`."""
        if self.principal.kind == "device" and role not in {ANY_ROLE, self.device().role}:
            raise Http404
        found = named(Release.objects.visible_to(self.principal), release).first()
        rows = Artifact.objects.select_related("release").visible_to(self.principal)
        artifact = of_role(rows, role).filter(release=found).first()
        if artifact is None:
            raise Http404
        return artifact

    def device(self) -> Device:
        """Return the device that asks."""
        return Device.objects.visible_to(self.principal).get(pk=self.principal.id)


# A slow reader of a large file must hold no transaction and no connection.
@method_decorator(transaction.non_atomic_requests, name="dispatch")
class ArtifactBundle(OneArtifactView):
    """The bundle itself."""

    def is_linked(self) -> bool:
        """Say whether the request brings a signed link: then it needs no other proof."""
        return "signature" in self.request.query_params

    def get_permissions(self) -> list[Any]:
        """Ask for no right where a link speaks for itself."""
        return [] if self.is_linked() else list(super().get_permissions())

    @extend_schema(
        operation_id="artifacts_bundle",
        parameters=[
            LinkQuery,
            OpenApiParameter("Range", OpenApiTypes.STR, OpenApiParameter.HEADER),
            OpenApiParameter("If-Range", OpenApiTypes.STR, OpenApiParameter.HEADER),
            OpenApiParameter("If-None-Match", OpenApiTypes.STR, OpenApiParameter.HEADER),
        ],
        responses={
            (200, BUNDLE_TYPE): OpenApiResponse(OpenApiTypes.BINARY),
            (206, BUNDLE_TYPE): OpenApiResponse(OpenApiTypes.BINARY),
            304: OpenApiResponse(description="The caller has it."),
            416: OpenApiResponse(description="The range is outside; `Content-Range` has the size."),
        },
    )
    def get(self, request: Request, role: str, release: str) -> HttpResponseBase:
        """Return the bundle, or one range of it. `ETag` is its SHA-256.

        A link of an offer is answered without any credential.
        """
        artifact = self.linked(role, release) if self.is_linked() else self.artifact(role, release)
        connection_release()
        return bundle_response(request, artifact)

    def linked(self, role: str, release: str) -> Artifact:
        """Return the bundle of the link. Raises LinkRefused."""
        asked = LinkQuery(data=self.request.query_params)
        asked.is_valid(raise_exception=True)
        return link_open(
            role=role, release=release, signed=Signed(**asked.validated_data), now=clock.now()
        )


def bundle_response(request: Request, artifact: Artifact) -> HttpResponseBase:
    """Return the answer for a bundle: 200, 206, 304 or 416; 404 when it is not stored any more."""
    if artifact.status != Artifact.Status.STORED:
        raise Http404
    etag = f'"{artifact.sha256}"'
    headers = {
        "ETag": etag,
        "X-Content-SHA256": artifact.sha256,
        "Cache-Control": CACHED,
        "Accept-Ranges": "bytes",
        "X-Content-Type-Options": "nosniff",
        "Content-Disposition": f'attachment; filename="{_file_name(artifact)}"',
    }
    if matches(request.headers.get("If-None-Match", ""), etag):
        return HttpResponse(status=304, headers=headers)
    if settings.ARTIFACT_ACCEL_PREFIX and is_local():
        headers["X-Accel-Redirect"] = f"{settings.ARTIFACT_ACCEL_PREFIX}/{artifact.file.name}"
        return HttpResponse(content_type=BUNDLE_TYPE, headers=headers)
    try:
        piece = range_of(
            header=request.headers.get("Range", "") if request.method == "GET" else "",
            condition=request.headers.get("If-Range", ""),
            etag=etag,
            size=artifact.size,
        )
    except RangeUnsatisfiable:
        headers["Content-Range"] = f"bytes */{artifact.size}"
        return HttpResponse(status=416, headers=headers)
    return _content(request, artifact, piece, headers)


def _content(
    request: Request, artifact: Artifact, piece: Range | None, headers: dict[str, str]
) -> HttpResponseBase:
    whole = Range(0, artifact.size - 1)
    wanted = piece or whole
    headers["Content-Length"] = str(wanted.length)
    if piece is not None:
        headers["Content-Range"] = f"bytes {piece.start}-{piece.end}/{artifact.size}"
    if request.method == "HEAD":
        return HttpResponse(content_type=BUNDLE_TYPE, headers=headers)
    try:
        file = bundle_open(str(artifact.file.name), start=wanted.start, length=wanted.length)
    except FileNotFoundError:
        raise Http404 from None
    return streamed_bytes(
        request._request,
        file,
        length=wanted.length,
        status=206 if piece is not None else 200,
        content_type=BUNDLE_TYPE,
        headers=headers,
    )


def _file_name(artifact: Artifact) -> str:
    return f"{artifact.role_name}-{artifact.release.version}.tar.gz"


class ArtifactChecksums(OneArtifactView):
    """What of a bundle has to lie on a device."""

    serializer_class = ChecksumsOutput

    @extend_schema(operation_id="artifacts_checksums")
    def get(self, _request: Request, role: str, release: str) -> Response:
        """Return the checksums of the bundle and of every file in it."""
        return Response(ChecksumsOutput(self.artifact(role, release)).data)


class ArtifactManifest(OneArtifactView):
    """The signed manifest of a bundle, as the caller's segment gets it."""

    @extend_schema(
        operation_id="artifacts_manifest",
        responses={(200, "application/json"): OpenApiResponse(OpenApiTypes.OBJECT)},
    )
    def get(self, _request: Request, role: str, release: str) -> HttpResponse:
        """Return the manifest byte for byte as the metadata vouches for it."""
        artifact = self.artifact(role, release)
        is_device = self.principal.kind == "device"
        segment = self.device().segment if is_device else Device.Segment.GENERAL
        path = manifest_path(
            trust=trust_of(segment), role=artifact.role, version=artifact.release.version
        )
        targets = TrustTarget.objects.visible_to(self.principal)
        target = targets.filter(artifact=artifact, path=path, withdrawn_at=None).first()
        if target is None:
            raise Http404
        return HttpResponse(
            bytes(target.content),
            content_type="application/json",
            headers={"ETag": f'"{target.sha256}"', "Cache-Control": "private, no-cache"},
        )
