"""Keys of the organisation over REST: how they stand, what waits for signatures, signing it."""

from typing import Any

from django.http import HttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.base import PortalView, visible_or_404
from accounts.policy import Action
from common import clock
from releases.api.trust_serializers import ImportedOutput, SignaturesInput, TrustStatusOutput
from releases.models import TrustDraft
from releases.services.trust_drafts import signatures_add
from releases.services.trust_status import trust_status


class TrustStatusView(PortalView):
    """How the keys of the organisation stand."""

    actions = {"GET": Action.RELEASE_READ}
    serializer_class = TrustStatusOutput

    @extend_schema(operation_id="trust_status")
    def get(self, _request: Request) -> Response:
        """Return who signs what and until when, what waits for signatures, and what needs you."""
        organization = self.principal.acting_organization()
        found = trust_status(organization=organization, now=clock.now())
        return Response(TrustStatusOutput(found).data)


class TrustDraftView(PortalView):
    """What waits for signatures of a role: root, targets or general."""

    actions = {"GET": Action.TRUST_MANAGE, "POST": Action.TRUST_MANAGE}
    serializer_class: Any = ImportedOutput

    def draft(self, role: str) -> TrustDraft:
        """Return the visible draft of the role or raise 404."""
        rows = TrustDraft.objects.select_related("organization")
        found: TrustDraft = visible_or_404(rows, self.principal, role=role)
        return found

    @extend_schema(
        operation_id="trust_draft_read",
        responses={(200, "application/json"): OpenApiTypes.OBJECT},
    )
    def get(self, _request: Request, role: str) -> HttpResponse:
        """Return the file a keeper signs with `python -m releases.trust.ceremony sign`."""
        draft = self.draft(role)
        return HttpResponse(
            bytes(draft.content),
            content_type="application/json",
            headers={
                "Content-Disposition": f'attachment; filename="{draft.role}.json"',
                "Cache-Control": "no-store",
            },
        )

    @extend_schema(
        operation_id="trust_draft_sign",
        request=SignaturesInput,
        responses=ImportedOutput,
    )
    def post(self, request: Request, role: str) -> Response:
        """Add signatures; what has enough of them goes into force.

        A key that may not sign the role, or a signature over another text, is refused.
        """
        draft = self.draft(role)
        wanted = SignaturesInput(data=request.data)
        wanted.is_valid(raise_exception=True)
        told = signatures_add(
            organization=draft.organization,
            role=draft.role,
            signatures=wanted.validated_data["signatures"],
            actor=self.principal,
            now=clock.now(),
        )
        return Response(ImportedOutput(told).data)
