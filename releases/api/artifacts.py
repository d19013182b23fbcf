"""Bundles over REST: uploaded at once or in parts, checked without being kept."""

from typing import Any

from django.db import transaction
from django.http import Http404
from django.utils.decorators import method_decorator
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.base import PortalView
from accounts.policy import Action
from common import clock, limits, parts
from common.api import problem_response
from releases.api.artifact_serializers import (
    ArtifactOutput,
    RetentionListOutput,
    UploadStateOutput,
    ValidationOutput,
)
from releases.api.parsers import BundleFormParser, BundleParser, PartParser, bundle_of, role_of
from releases.api.release_serializers import ReleaseDetailOutput
from releases.api.releases import OneReleaseView
from releases.models import Artifact
from releases.selectors import of_role
from releases.services import uploads
from releases.services.artifact_retention import retention_judge
from releases.services.bundle_reports import bundle_check
from releases.services.validating import release_validate
from releases.validation.findings import ERROR
from releases.validation.report import Report

FORM = {
    "type": "object",
    "properties": {"file": {"type": "string", "format": "binary"}},
    "required": ["file"],
}
CHECKSUM = OpenApiParameter(
    "X-Content-SHA256",
    OpenApiTypes.STR,
    OpenApiParameter.HEADER,
    description="SHA-256 of the bundle in hex; compared when sent.",
)


def told(report: Report) -> dict[str, Any]:
    """Return a report as it goes over the wire."""
    compose = {"path": report.compose_path, "sha256": report.compose_sha256}
    return {
        "valid": not any(one["severity"] == ERROR for one in report.findings),
        "findings": report.findings,
        "files": report.files,
        "compose": compose if report.compose_path else None,
    }


# Bytes are taken for as long as it takes; only the rows are written in transactions.
@method_decorator(transaction.non_atomic_requests, name="dispatch")
class UploadView(OneReleaseView):
    """Base of endpoints that take bytes. Sending the same again is harmless: no key is needed."""

    @classmethod
    def takes_idempotency_key(cls, method: str) -> bool:
        """Take none: a bundle is known by its checksum."""
        return False


class ArtifactUpload(UploadView):
    """The bundle of a role, as it is uploaded."""

    actions = {"GET": Action.RELEASE_READ, "POST": Action.RELEASE_MANAGE}
    parser_classes = [BundleParser, BundleFormParser]
    serializer_class = ArtifactOutput

    @extend_schema(operation_id="releases_bundle_state", responses=UploadStateOutput)
    def get(self, _request: Request, version: str, role: str) -> Response:
        """Say how far the upload is; 404 before its first part."""
        artifacts = Artifact.objects.visible_to(self.principal)
        artifact = of_role(artifacts, role).filter(release=self.release(version)).first()
        if artifact is None:
            raise Http404
        return Response(UploadStateOutput(artifact).data)

    @extend_schema(
        operation_id="releases_bundle_upload",
        request={"application/gzip": OpenApiTypes.BINARY, "multipart/form-data": FORM},
        responses={201: ArtifactOutput},
        parameters=[CHECKSUM],
    )
    def post(self, request: Request, version: str, role: str) -> Response:
        """Keep the bundle in one piece; another one for the role is replaced."""
        release = self.release(version)
        artifact = uploads.artifact_store(
            release=release,
            role=role_of(role),
            content=bundle_of(request),
            sha256=request.headers.get("X-Content-SHA256", ""),
            actor=self.principal,
            now=clock.now(),
        )
        return Response(ArtifactOutput(artifact).data, status=201)


class ArtifactValidate(UploadView):
    """What a pipeline asks before it makes a release."""

    actions = {"POST": Action.RELEASE_MANAGE}
    parser_classes = [BundleParser, BundleFormParser]
    serializer_class = ValidationOutput

    @extend_schema(
        operation_id="artifacts_validate",
        request={"application/gzip": OpenApiTypes.BINARY, "multipart/form-data": FORM},
        responses=ValidationOutput,
    )
    def post(self, request: Request) -> Response:
        """Check a bundle and keep nothing; `valid` is false when there is an error."""
        report = bundle_check(bundle_of(request))
        return Response(ValidationOutput(told(report)).data)


class ArtifactPart(UploadView):
    """A bundle in parts: an interrupted upload goes on where it stopped."""

    actions = {"PUT": Action.RELEASE_MANAGE}
    parser_classes = [PartParser]
    serializer_class = UploadStateOutput

    @extend_schema(
        operation_id="releases_bundle_part",
        request={"application/octet-stream": OpenApiTypes.BINARY},
        responses=UploadStateOutput,
        parameters=parts.part_parameters("bundle"),
    )
    def put(self, request: Request, version: str, role: str) -> Response:
        """Keep a part of at most 8 MiB; 409 names in `received` the byte to go on at.

        When the whole does not have its checksum the answer is 422, and it starts over at 0.
        """
        release = self.release(version)
        part = parts.part_of(request, most=limits.ARTIFACT_BYTES)
        told = uploads.artifact_part_store(
            release=release,
            role=role_of(role),
            offset=part.offset,
            part=part.content,
            upload=part.upload,
            actor=self.principal,
            now=clock.now(),
        )
        if told.is_damaged:
            return problem_response(
                status=422,
                code="artifact_refused",
                detail="The bundle does not have the checksum named. Send it again from byte 0.",
                extra={"received": 0},
            )
        return Response(UploadStateOutput(told.artifact).data)


class ValidateRelease(UploadView):
    """Looking into the bundles of a release."""

    actions = {"POST": Action.RELEASE_MANAGE}
    serializer_class = ReleaseDetailOutput

    @extend_schema(operation_id="releases_validate", request=None)
    def post(self, _request: Request, version: str) -> Response:
        """Check every bundle; `state` is validated when `findings` holds no error."""
        release = release_validate(
            release=self.release(version), actor=self.principal, now=clock.now()
        )
        return self.shown(release)


class ArtifactRetention(PortalView):
    """Which bundles the next clean-up removes."""

    actions = {"GET": Action.RELEASE_READ}
    serializer_class = RetentionListOutput

    @extend_schema(operation_id="artifacts_retention")
    def get(self, _request: Request) -> Response:
        """List every stored bundle with what keeps it; `goes` when nothing does."""
        judged = retention_judge(organization=self.principal.acting_organization())
        freed = sum(one.artifact.size for one in judged if not one.reasons)
        return Response(RetentionListOutput({"bytes_freed": freed, "results": judged}).data)
