"""The organisation's TUF repository over HTTP, byte for byte as it was signed."""

import re
from hashlib import sha256
from typing import Any

from django.http import Http404, HttpResponse, HttpResponseBase
from django.utils.cache import get_conditional_response
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.serializers import Serializer

from accounts.api.base import PortalView, visible_or_404
from accounts.policy import Action
from releases.models import TrustMetadata, TrustTarget
from releases.trust.roles import ROOT, TIMESTAMP

VERSIONED = re.compile(r"([1-9][0-9]{0,8})\.([a-z]{1,64})\.json")
NEWEST = {f"{role}.json": role for role in (ROOT, TIMESTAMP)}
HASHED = re.compile(r"(?:(.+)/)?([0-9a-f]{64})\.([^/]+)")
# Never another content under that name.
FOR_EVER = "private, max-age=31536000, immutable"
FRESH = "private, no-cache"
JSON: Any = {(200, "application/json"): OpenApiTypes.OBJECT}


class RepositoryView(PortalView):
    """Base of files that are what they are."""

    actions = {"GET": Action.TRUST_READ}
    serializer_class: Any = Serializer

    def answer(self, request: Request, content: bytes, *, caching: str) -> HttpResponseBase:
        """Return the bytes, or 304 to whoever has them."""
        etag = f'"{sha256(content).hexdigest()}"'
        response = HttpResponse(
            content,
            content_type="application/json",
            headers={"ETag": etag, "Cache-Control": caching},
        )
        return get_conditional_response(request._request, etag=etag, response=response) or response


class TrustMetadataFile(RepositoryView):
    """Signed metadata: `timestamp.json`, `root.json`, `3.root.json`, `12.snapshot.json`."""

    @extend_schema(operation_id="trust_metadata_read", responses=JSON)
    def get(self, request: Request, name: str) -> HttpResponseBase:
        """Return the file; names without a version mean the newest."""
        versioned = VERSIONED.fullmatch(name)
        rows = TrustMetadata.objects.visible_to(self.principal)
        if versioned is not None:
            row = rows.filter(version=int(versioned[1]), role=versioned[2]).first()
        elif name in NEWEST:
            row = rows.filter(role=NEWEST[name]).order_by("-version").first()
        else:
            row = None
        if row is None:
            raise Http404
        caching = FRESH if versioned is None else FOR_EVER
        return self.answer(request, bytes(row.content), caching=caching)


class TrustTargetFile(RepositoryView):
    """A manifest: `staged/kiosk/1.4.0/<sha256>.manifest.json`, or without the hash."""

    @extend_schema(operation_id="trust_target_read", responses=JSON)
    def get(self, request: Request, path: str) -> HttpResponseBase:
        """Return the manifest as it was signed."""
        if not path.isprintable():
            # No manifest is called so, and the database could not be asked for one.
            raise Http404
        hashed = HASHED.fullmatch(path)
        lookup = {"path": path}
        if hashed is not None:
            folder = f"{hashed[1]}/" if hashed[1] else ""
            lookup = {"path": f"{folder}{hashed[3]}", "sha256": hashed[2]}
        row: TrustTarget = visible_or_404(TrustTarget.objects.all(), self.principal, **lookup)
        caching = FRESH if hashed is None else FOR_EVER
        return self.answer(request, bytes(row.content), caching=caching)
