"""An upload in parts over HTTP: where a part belongs, and what the whole is."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import IO, Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter
from rest_framework import serializers
from rest_framework.parsers import BaseParser
from rest_framework.request import Request

from common.parsers import BodyTooLarge
from common.staging import Upload

SHA256 = r"^[0-9a-fA-F]{64}$"


@dataclass(frozen=True)
class Part:
    """Bytes that belong at `offset` of the upload."""

    offset: int
    content: bytes
    upload: Upload


class PartParser(BaseParser):
    """A piece of a file, of at most `most()` bytes."""

    media_type = "application/octet-stream"

    def most(self) -> int:
        """Return the cap of one part in bytes."""
        raise NotImplementedError

    def parse(
        self,
        stream: IO[bytes],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        """Return the bytes, or raise BodyTooLarge."""
        most = self.most()
        part = stream.read(most + 1)
        if len(part) > most:
            raise BodyTooLarge(f"A part may have {most} bytes. Send less.")
        return part


def part_parameters(noun: str) -> list[OpenApiParameter]:
    """Return what a request with a part has beside its body; `noun` is what the whole is."""
    return [
        OpenApiParameter("offset", OpenApiTypes.INT, required=True),
        OpenApiParameter(
            "X-Upload-Size",
            OpenApiTypes.INT,
            OpenApiParameter.HEADER,
            required=True,
            description=f"Bytes of the whole {noun}.",
        ),
        OpenApiParameter(
            "X-Upload-SHA256",
            OpenApiTypes.STR,
            OpenApiParameter.HEADER,
            required=True,
            description=f"SHA-256 of the whole {noun} in hex.",
        ),
    ]


def part_of(request: Request, *, most: int) -> Part:
    """Return the part in a request; the whole has at most `most` bytes. Raises ValidationError."""

    class Query(serializers.Serializer):
        offset = serializers.IntegerField(min_value=0, max_value=most)
        size = serializers.IntegerField(min_value=1, max_value=most)
        sha256 = serializers.RegexField(SHA256)

    asked = Query(
        data={
            "offset": request.query_params.get("offset"),
            "size": request.headers.get("X-Upload-Size"),
            "sha256": request.headers.get("X-Upload-SHA256"),
        }
    )
    asked.is_valid(raise_exception=True)
    given = asked.validated_data
    body: Any = request.data
    return Part(
        offset=given["offset"],
        content=body if isinstance(body, bytes) else b"",
        upload=Upload(size=given["size"], sha256=given["sha256"].lower()),
    )
