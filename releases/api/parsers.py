"""Bundles in the bodies of requests: read as a stream, never whole."""

from collections.abc import Mapping
from typing import IO, Any

from django.core.exceptions import RequestDataTooBig, TooManyFieldsSent, TooManyFilesSent
from rest_framework.exceptions import ParseError
from rest_framework.parsers import BaseParser, MultiPartParser
from rest_framework.request import Request

from common import limits, parts
from common.parsers import BodyTooLarge
from releases.models import ANY_ROLE

# What a form has beside the bundle.
_FORM_EXTRA_BYTES = limits.BODY_BYTES


def role_of(name: str) -> str:
    """Return the role a path or a form names; `any` is stored empty."""
    return "" if name == ANY_ROLE else name


class BundleParser(BaseParser):
    """A raw bundle: handed on as it comes."""

    media_type = "application/gzip"

    def parse(
        self,
        stream: IO[bytes],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        """Return the stream itself."""
        return stream


class BundleFormParser(MultiPartParser):
    """A form with a bundle in it, spooled to disk."""

    def parse(self, stream: Any, media_type: Any = None, parser_context: Any = None) -> Any:
        """Return data and files, or raise BodyTooLarge or ParseError."""
        length = str((parser_context or {})["request"].META.get("CONTENT_LENGTH") or "0")
        if length.isdecimal() and int(length) > limits.ARTIFACT_FORM_BYTES + _FORM_EXTRA_BYTES:
            raise BodyTooLarge(
                f"A form takes {limits.ARTIFACT_FORM_BYTES} bytes. Send the bundle as the body, "
                "as application/gzip."
            )
        try:
            return super().parse(stream, media_type, parser_context)
        except RequestDataTooBig:
            raise BodyTooLarge("The fields of the form are too large. Send less.") from None
        except (TooManyFieldsSent, TooManyFilesSent):
            raise ParseError("The form has too many fields.") from None


class PartParser(parts.PartParser):
    """A piece of a bundle."""

    def most(self) -> int:
        """Return the cap of one part in bytes."""
        return limits.ARTIFACT_PART_BYTES


def bundle_of(request: Request) -> IO[bytes]:
    """Return the bundle in a request, positioned at its start: raw, or `file` of a form."""
    file = request.FILES.get("file")
    if file is not None:
        return file  # type: ignore[no-any-return]
    body: Any = request.data
    if not hasattr(body, "read"):
        raise ParseError("There is no bundle in the request. Send the tar.gz, or a form with file.")
    return body  # type: ignore[no-any-return]
