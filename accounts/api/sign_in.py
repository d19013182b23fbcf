"""Signing in over the API."""

from typing import Any

from django.db import transaction
from django.utils.decorators import method_decorator
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.address import client_address
from accounts.api.base import PortalView
from accounts.api.serializers import MeOutput, RefreshInput, SignInInput, TokenPairOutput
from accounts.policy import Action
from accounts.principals import switchable_organizations, user_principal
from accounts.services.sign_in import (
    credentials_check,
    sign_in_complete,
    tokens_issue,
    tokens_refresh,
    totp_check,
)
from common import clock


# A refused attempt must stay counted, so no transaction may span the view.
@method_decorator(transaction.non_atomic_requests, name="dispatch")
class SignIn(APIView):
    """Trade e-mail and password for an access and a refresh token."""

    authentication_classes: list[Any] = []
    permission_classes: list[Any] = []

    @extend_schema(
        operation_id="auth_token", request=SignInInput, responses={200: TokenPairOutput}, auth=[]
    )
    def post(self, request: Request) -> Response:
        """Sign in. Refusals: 401 `wrong_credentials` or `totp_needed`, 429 `too_many_attempts`."""
        wanted = SignInInput(data=request.data)
        wanted.is_valid(raise_exception=True)
        given = wanted.validated_data
        address = client_address(request._request)
        user = credentials_check(email=given["email"], password=given["password"], address=address)
        totp_check(user=user, code=given.get("totp", ""))
        pair = tokens_issue(user=user, now=clock.now())
        sign_in_complete(user=user, address=address, actor=user_principal(user), how="api")
        return Response(TokenPairOutput(pair).data)


@method_decorator(transaction.non_atomic_requests, name="dispatch")
class Refresh(APIView):
    """Trade a refresh token for a new pair."""

    authentication_classes: list[Any] = []
    permission_classes: list[Any] = []

    @extend_schema(
        operation_id="auth_refresh", request=RefreshInput, responses={200: TokenPairOutput}, auth=[]
    )
    def post(self, request: Request) -> Response:
        """Refresh. A token works once; using one twice ends every token of that sign-in."""
        wanted = RefreshInput(data=request.data)
        wanted.is_valid(raise_exception=True)
        pair = tokens_refresh(refresh=wanted.validated_data["refresh"], now=clock.now())
        return Response(TokenPairOutput(pair).data)


class Me(PortalView):
    """Who the portal takes the caller for."""

    actions = {"GET": Action.ORGANIZATION_READ}
    serializer_class = MeOutput

    @extend_schema(operation_id="auth_me", responses=MeOutput)
    def get(self, _request: Request) -> Response:
        """Return the caller, their organisation and role, and the organisations to switch to."""
        who = self.principal
        choices = switchable_organizations(who.user) if who.user else [who.acting_organization()]
        me = {
            "kind": who.kind,
            "label": who.label,
            "email": who.user.email if who.user else None,
            "organization": who.organization.slug if who.organization else None,
            "role": who.role,
            "limited_to_groups": who.limited,
            "organizations": [organization.slug for organization in choices],
        }
        return Response(MeOutput(me).data)
