"""Organisations, people and API keys over REST."""

from datetime import timedelta
from typing import Any

from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework.generics import ListAPIView
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.base import PortalView, visible_or_404
from accounts.api.serializers import (
    ApiKeyCreated,
    ApiKeyInput,
    ApiKeyOutput,
    MemberCreated,
    MemberInput,
    MembershipOutput,
    OrganizationInput,
    OrganizationOutput,
)
from accounts.models import ApiKey, Membership, Organization
from accounts.policy import Action
from accounts.services import organizations as services
from common import clock


@extend_schema_view(get=extend_schema(operation_id="organizations_list"))
class Organizations(PortalView, ListAPIView[Organization]):
    """The organisation the caller acts in; all of them for a superuser who chose all."""

    actions = {"GET": Action.ORGANIZATION_READ, "POST": Action.ORGANIZATION_CREATE}
    serializer_class = OrganizationOutput
    queryset = Organization.objects.none()
    ordering_fields = ["name", "created_at"]
    search_fields = ["name", "slug"]

    def get_queryset(self) -> Any:
        """Only what the caller may see."""
        return Organization.objects.visible_to(self.principal).order_by("name", "pk")

    @extend_schema(
        operation_id="organizations_create",
        request=OrganizationInput,
        responses={201: OrganizationOutput},
    )
    def post(self, request: Request) -> Response:
        """Make an organisation. Only owners of the installation do."""
        wanted = OrganizationInput(data=request.data)
        wanted.is_valid(raise_exception=True)
        made = services.organization_create(actor=self.principal, **wanted.validated_data)
        return Response(OrganizationOutput(made).data, status=201)


class OrganizationDetail(PortalView):
    """One organisation, named by its slug."""

    actions = {"GET": Action.ORGANIZATION_READ, "PATCH": Action.ORGANIZATION_UPDATE}
    serializer_class = OrganizationOutput

    @extend_schema(operation_id="organizations_read")
    def get(self, _request: Request, slug: str) -> Response:
        """Return the organisation's settings."""
        found = visible_or_404(Organization.objects.all(), self.principal, slug=slug)
        return Response(OrganizationOutput(found).data)

    @extend_schema(operation_id="organizations_update", request=OrganizationOutput)
    def patch(self, request: Request, slug: str) -> Response:
        """Change the settings named in the body."""
        found = visible_or_404(Organization.objects.all(), self.principal, slug=slug)
        wanted = OrganizationOutput(found, data=request.data, partial=True)
        wanted.is_valid(raise_exception=True)
        updated = services.organization_update(
            organization=found, changes=dict(wanted.validated_data), actor=self.principal
        )
        return Response(OrganizationOutput(updated).data)


class Users(PortalView, ListAPIView[Membership]):
    """The people of the organisation."""

    actions = {"GET": Action.USER_READ, "POST": Action.USER_MANAGE}
    serializer_class = MembershipOutput
    queryset = Membership.objects.none()
    filterset_fields = ["role", "limited_to_groups"]
    search_fields = ["user__email", "user__name"]
    ordering_fields = ["user__email", "created_at", "role"]

    def get_queryset(self) -> Any:
        """Only what the caller may see."""
        rows = Membership.objects.visible_to(self.principal).select_related("user")
        return rows.order_by("user__email", "pk")

    @extend_schema(operation_id="users_list")
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """List the people of the organisation."""
        return super().get(request, *args, **kwargs)

    @extend_schema(operation_id="users_create", request=MemberInput, responses={201: MemberCreated})
    def post(self, request: Request) -> Response:
        """Add a person; `first_password` is shown once. Who has an account keeps their password."""
        wanted = MemberInput(data=request.data)
        wanted.is_valid(raise_exception=True)
        membership, password = services.member_add(
            organization=self.principal.acting_organization(),
            actor=self.principal,
            **wanted.validated_data,
        )
        body = {**MembershipOutput(membership).data, "first_password": password}
        return Response(body, status=201)


class UserDetail(PortalView):
    """One person of the organisation."""

    actions = {
        "GET": Action.USER_READ,
        "PATCH": Action.USER_MANAGE,
        "DELETE": Action.USER_MANAGE,
    }
    serializer_class = MembershipOutput

    def _membership(self, user_id: str) -> Membership:
        rows = Membership.objects.select_related("user", "organization")
        found: Membership = visible_or_404(rows, self.principal, user_id=user_id)
        return found

    @extend_schema(operation_id="users_read")
    def get(self, _request: Request, user_id: str) -> Response:
        """Return the person's role here."""
        return Response(MembershipOutput(self._membership(user_id)).data)

    @extend_schema(operation_id="users_update", request=MembershipOutput)
    def patch(self, request: Request, user_id: str) -> Response:
        """Change role or limits. The last admin keeps the role (409 `last_admin`)."""
        membership = self._membership(user_id)
        wanted = MembershipOutput(membership, data=request.data, partial=True)
        wanted.is_valid(raise_exception=True)
        updated = services.member_update(
            membership=membership, changes=dict(wanted.validated_data), actor=self.principal
        )
        return Response(MembershipOutput(updated).data)

    @extend_schema(operation_id="users_remove", responses={204: None})
    def delete(self, _request: Request, user_id: str) -> Response:
        """Take the person out of the organisation; the account itself stays."""
        services.member_remove(membership=self._membership(user_id), actor=self.principal)
        return Response(status=204)


class ApiKeys(PortalView, ListAPIView[ApiKey]):
    """The organisation's API keys."""

    actions = {"GET": Action.API_KEY_MANAGE, "POST": Action.API_KEY_MANAGE}
    serializer_class = ApiKeyOutput
    queryset = ApiKey.objects.none()
    filterset_fields = ["role"]
    search_fields = ["name", "prefix"]
    ordering_fields = ["name", "created_at", "last_used_at"]

    def get_queryset(self) -> Any:
        """Only what the caller may see."""
        return ApiKey.objects.visible_to(self.principal).order_by("-created_at", "pk")

    @extend_schema(operation_id="api_keys_list")
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """List keys, never their secrets."""
        return super().get(request, *args, **kwargs)

    @extend_schema(
        operation_id="api_keys_create", request=ApiKeyInput, responses={201: ApiKeyCreated}
    )
    def post(self, request: Request) -> Response:
        """Issue a key; `key` is its secret and is shown this once."""
        wanted = ApiKeyInput(data=request.data)
        wanted.is_valid(raise_exception=True)
        seconds = wanted.validated_data.get("expires_in_s")
        key, secret = services.api_key_issue(
            organization=self.principal.acting_organization(),
            name=wanted.validated_data["name"],
            role=wanted.validated_data["role"],
            expires_at=clock.now() + timedelta(seconds=seconds) if seconds else None,
            actor=self.principal,
        )
        return Response({**ApiKeyOutput(key).data, "key": secret}, status=201)


class ApiKeyDetail(PortalView):
    """One API key."""

    actions = {"GET": Action.API_KEY_MANAGE, "DELETE": Action.API_KEY_MANAGE}
    serializer_class = ApiKeyOutput

    @extend_schema(operation_id="api_keys_read")
    def get(self, _request: Request, pk: str) -> Response:
        """Return one key without its secret."""
        key = visible_or_404(ApiKey.objects.all(), self.principal, pk=pk)
        return Response(ApiKeyOutput(key).data)

    @extend_schema(operation_id="api_keys_revoke", responses={204: None})
    def delete(self, _request: Request, pk: str) -> Response:
        """Revoke the key; it ends at once and stays listed."""
        rows = ApiKey.objects.select_related("organization")
        key = visible_or_404(rows, self.principal, pk=pk)
        services.api_key_revoke(key=key, actor=self.principal, now=clock.now())
        return Response(status=204)
