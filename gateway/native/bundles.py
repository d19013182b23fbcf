"""Where a device sends the archive a `bundle` command asked for: at once, or in parts."""

import tempfile
from collections.abc import Mapping
from typing import IO, Any

from django.http import Http404
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.exceptions import ParseError
from rest_framework.parsers import BaseParser
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.policy import Action
from commands.api.bundle_serializers import BundleOutput, BundleStateOutput
from commands.api.views import OneCommandView
from commands.bundles import receiving
from commands.models import SupportBundle
from common import clock, limits, parts
from common.api import problem_response
from common.errors import StorageFull
from common.parsers import BodyTooLarge
from common.staging import full_disk_told


class ArchiveParser(BaseParser):
    """A raw archive, spooled to disk."""

    media_type = "application/gzip"

    def parse(
        self,
        stream: IO[bytes],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        """Return an open file positioned at its start, or raise BodyTooLarge or StorageFull."""
        spool = tempfile.SpooledTemporaryFile(max_size=limits.BODY_BYTES)  # noqa: SIM115 - returned
        try:
            with full_disk_told("There is no room to take the bundle. Try later."):
                while (chunk := stream.read(64 * 1024)) and spool.tell() <= limits.BUNDLE_BYTES:
                    spool.write(chunk)
        except (OSError, StorageFull):
            spool.close()
            raise
        if spool.tell() > limits.BUNDLE_BYTES:
            spool.close()
            raise BodyTooLarge(f"A bundle may have {limits.BUNDLE_BYTES} bytes. Send less.")
        spool.seek(0)
        return spool


class PartParser(parts.PartParser):
    """A piece of an archive."""

    def most(self) -> int:
        """Return the cap of one part in bytes."""
        return limits.BUNDLE_PART_BYTES


class BundleUpload(OneCommandView):
    """The bundle of a command, seen by its device."""

    actions = {"GET": Action.COMMAND_REPORT, "POST": Action.COMMAND_REPORT}
    parser_classes = [ArchiveParser]
    serializer_class = BundleOutput

    @extend_schema(operation_id="commands_bundle_state", responses=BundleStateOutput)
    def get(self, _request: Request, pk: str) -> Response:
        """Say how far the upload is; 404 before its first part."""
        bundles = SupportBundle.objects.visible_to(self.principal)
        bundle = bundles.filter(command=self.command(pk)).first()
        if bundle is None:
            raise Http404
        return Response(BundleStateOutput(bundle).data)

    @extend_schema(
        operation_id="commands_bundle_upload",
        request={"application/gzip": OpenApiTypes.BINARY},
        responses={201: BundleOutput},
        parameters=[
            OpenApiParameter(
                "X-Content-SHA256",
                OpenApiTypes.STR,
                OpenApiParameter.HEADER,
                description="SHA-256 of the archive in hex; compared when sent.",
            )
        ],
    )
    def post(self, request: Request, pk: str) -> Response:
        """Keep the archive; sending the same one again is accepted."""
        command = self.command(pk)
        content: Any = request.data
        if not hasattr(content, "seek"):
            raise ParseError("The body is empty. Send the archive.")
        size = content.seek(0, 2)
        content.seek(0)
        bundle = receiving.bundle_store(
            command=command,
            content=content,
            size=size,
            sha256=request.headers.get("X-Content-SHA256", ""),
            actor=self.principal,
            now=clock.now(),
        )
        return Response(BundleOutput(bundle).data, status=201)


class BundlePart(OneCommandView):
    """A bundle in parts: an interrupted upload goes on where it stopped."""

    actions = {"PUT": Action.COMMAND_REPORT}
    parser_classes = [PartParser]
    serializer_class = BundleStateOutput

    @extend_schema(
        operation_id="commands_bundle_part",
        request={"application/octet-stream": OpenApiTypes.BINARY},
        responses=BundleStateOutput,
        parameters=parts.part_parameters("archive"),
    )
    def put(self, request: Request, pk: str) -> Response:
        """Keep a part of at most 4 MiB; 409 names in `received` the byte to go on at.

        When the whole does not have its checksum the answer is 422, and it starts over at 0.
        """
        command = self.command(pk)
        part = parts.part_of(request, most=limits.BUNDLE_BYTES)
        told = receiving.bundle_part_store(
            command=command,
            offset=part.offset,
            part=part.content,
            upload=part.upload,
            actor=self.principal,
            now=clock.now(),
        )
        if told.is_damaged:
            # No exception: that the upload starts over is to be kept.
            return problem_response(
                status=422,
                code="bundle_refused",
                detail="The archive does not have the checksum named. Send it again from byte 0.",
                extra={"received": 0},
            )
        return Response(BundleStateOutput(told.bundle).data)
