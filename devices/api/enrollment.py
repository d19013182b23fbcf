"""Enrolment tokens and device groups over REST."""

from datetime import timedelta
from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework.generics import ListAPIView
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.base import PortalView, visible_or_404
from accounts.models import Membership, User
from accounts.policy import Action
from common import clock
from common.errors import InvalidInput
from devices.api.enrollment_serializers import (
    EnrollmentTokenCreated,
    EnrollmentTokenInput,
    EnrollmentTokenOutput,
)
from devices.api.serializers import GroupSerializer
from devices.models import DeviceGroup, EnrollmentToken
from devices.services import enrollment
from devices.services import groups as group_services


class EnrollmentTokens(PortalView, ListAPIView[EnrollmentToken]):
    """Tokens that let new devices in."""

    actions = {
        "GET": Action.ENROLLMENT_TOKEN_MANAGE,
        "POST": Action.ENROLLMENT_TOKEN_MANAGE,
    }
    serializer_class = EnrollmentTokenOutput
    queryset = EnrollmentToken.objects.none()
    search_fields = ["name", "prefix"]
    ordering_fields = ["name", "created_at", "expires_at"]

    def get_queryset(self) -> Any:
        """Only what the caller may see."""
        tokens = EnrollmentToken.objects.visible_to(self.principal).select_related("group")
        return tokens.order_by("-created_at", "pk")

    @extend_schema(operation_id="enrollment_tokens_list")
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """List tokens, never their secrets."""
        return super().get(request, *args, **kwargs)

    @extend_schema(
        operation_id="enrollment_tokens_create",
        request=EnrollmentTokenInput,
        responses={201: EnrollmentTokenCreated},
    )
    def post(self, request: Request) -> Response:
        """Issue a token; `token` is its secret and is shown this once."""
        wanted = EnrollmentTokenInput(data=request.data)
        wanted.is_valid(raise_exception=True)
        given = wanted.validated_data
        token, secret = enrollment.enrollment_token_issue(
            organization=self.principal.acting_organization(),
            name=given["name"],
            ttl=timedelta(seconds=given["expires_in_s"]),
            max_uses=given["max_uses"],
            group=self._group(given.get("group")),
            actor=self.principal,
            now=clock.now(),
        )
        return Response({**EnrollmentTokenOutput(token).data, "token": secret}, status=201)

    def _group(self, name: str | None) -> DeviceGroup | None:
        if not name:
            return None
        group = DeviceGroup.objects.visible_to(self.principal).filter(name=name).first()
        if group is None:
            raise InvalidInput(f"There is no group {name}.", errors={"group": [name]})
        return group


class EnrollmentTokenDetail(PortalView):
    """One enrolment token."""

    actions = {
        "GET": Action.ENROLLMENT_TOKEN_MANAGE,
        "DELETE": Action.ENROLLMENT_TOKEN_MANAGE,
    }
    serializer_class = EnrollmentTokenOutput

    def _token(self, pk: str) -> EnrollmentToken:
        rows = EnrollmentToken.objects.select_related("group", "organization")
        found: EnrollmentToken = visible_or_404(rows, self.principal, pk=pk)
        return found

    @extend_schema(operation_id="enrollment_tokens_read")
    def get(self, _request: Request, pk: str) -> Response:
        """Return one token without its secret."""
        return Response(EnrollmentTokenOutput(self._token(pk)).data)

    @extend_schema(operation_id="enrollment_tokens_revoke", responses={204: None})
    def delete(self, _request: Request, pk: str) -> Response:
        """Revoke the token; devices it let in stay."""
        enrollment.enrollment_token_revoke(
            token=self._token(pk), actor=self.principal, now=clock.now()
        )
        return Response(status=204)


class DeviceGroups(PortalView, ListAPIView[DeviceGroup]):
    """Groups of devices."""

    actions = {"GET": Action.GROUP_READ, "POST": Action.GROUP_MANAGE}
    serializer_class = GroupSerializer
    queryset = DeviceGroup.objects.none()
    search_fields = ["name", "description"]
    ordering_fields = ["name", "created_at"]

    def get_queryset(self) -> Any:
        """Only what the caller may see."""
        return DeviceGroup.objects.visible_to(self.principal).order_by("name", "pk")

    @extend_schema(operation_id="device_groups_list")
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """List groups; a limited member sees the granted ones."""
        return super().get(request, *args, **kwargs)

    @extend_schema(operation_id="device_groups_create", responses={201: GroupSerializer})
    def post(self, request: Request) -> Response:
        """Make a group."""
        wanted = GroupSerializer(data=request.data)
        wanted.is_valid(raise_exception=True)
        group = group_services.group_create(
            organization=self.principal.acting_organization(),
            name=wanted.validated_data["name"],
            description=wanted.validated_data.get("description", ""),
            actor=self.principal,
        )
        return Response(GroupSerializer(group).data, status=201)


class DeviceGroupDetail(PortalView):
    """One group."""

    actions = {
        "GET": Action.GROUP_READ,
        "PATCH": Action.GROUP_MANAGE,
        "DELETE": Action.GROUP_MANAGE,
    }
    serializer_class = GroupSerializer

    def _group(self, pk: str) -> DeviceGroup:
        rows = DeviceGroup.objects.select_related("organization")
        found: DeviceGroup = visible_or_404(rows, self.principal, pk=pk)
        return found

    @extend_schema(operation_id="device_groups_read")
    def get(self, _request: Request, pk: str) -> Response:
        """Return the group."""
        return Response(GroupSerializer(self._group(pk)).data)

    @extend_schema(operation_id="device_groups_update")
    def patch(self, request: Request, pk: str) -> Response:
        """Rename or describe the group."""
        group = self._group(pk)
        wanted = GroupSerializer(group, data=request.data, partial=True)
        wanted.is_valid(raise_exception=True)
        group_services.group_update(
            group=group, changes=dict(wanted.validated_data), actor=self.principal
        )
        return Response(GroupSerializer(group).data)

    @extend_schema(operation_id="device_groups_delete", responses={204: None})
    def delete(self, _request: Request, pk: str) -> Response:
        """Delete the group; its devices stay."""
        group_services.group_delete(group=self._group(pk), actor=self.principal)
        return Response(status=204)


class GroupGrant(PortalView):
    """A member's grant on a group."""

    actions = {"PUT": Action.GROUP_MANAGE, "DELETE": Action.GROUP_MANAGE}
    serializer_class = GroupSerializer

    def _pair(self, pk: str, user_id: str) -> tuple[DeviceGroup, User]:
        groups = DeviceGroup.objects.select_related("organization")
        group: DeviceGroup = visible_or_404(groups, self.principal, pk=pk)
        members = Membership.objects.select_related("user")
        member: Membership = visible_or_404(members, self.principal, user_id=user_id)
        return group, member.user

    @extend_schema(operation_id="device_groups_grant", request=None, responses={204: None})
    def put(self, _request: Request, pk: str, user_id: str) -> Response:
        """Let a limited member see and operate the group's devices."""
        group, user = self._pair(pk, user_id)
        group_services.group_grant(group=group, user=user, actor=self.principal)
        return Response(status=204)

    @extend_schema(operation_id="device_groups_revoke_grant", responses={204: None})
    def delete(self, _request: Request, pk: str, user_id: str) -> Response:
        """Take the grant away."""
        group, user = self._pair(pk, user_id)
        group_services.group_revoke(group=group, user=user, actor=self.principal)
        return Response(status=204)
