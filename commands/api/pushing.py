"""Commands over REST: the list of all, and orders that name their device in the body."""

from typing import Any
from uuid import UUID

from django.http import Http404
from drf_spectacular.utils import extend_schema
from rest_framework.exceptions import ValidationError
from rest_framework.generics import ListAPIView
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.base import PortalView, visible_or_404
from accounts.policy import Action
from commands import services
from commands.api.filters import CommandFilter
from commands.api.orders import order_of, travel_of
from commands.api.serializers import (
    CommandOutput,
    PushBatchInput,
    PushBatchOutput,
    PushCommandInput,
    PushCommandOutput,
)
from commands.models import Command
from common import clock
from common.errors import DomainError, InvalidInput
from common.paging import CURSOR_FILTERS, Cursors
from devices.models import Device


class Commands(PortalView, ListAPIView[Command]):
    """Every command of the organisation."""

    actions = {"GET": Action.COMMAND_READ, "POST": Action.COMMAND_CREATE}
    serializer_class = CommandOutput
    queryset = Command.objects.none()
    filterset_class = CommandFilter
    pagination_class = Cursors
    filter_backends = CURSOR_FILTERS
    search_fields = ["device__device_id", "kind", "created_by"]

    def get_queryset(self) -> Any:
        """Only what the caller may see."""
        return Command.objects.visible_to(self.principal).select_related("device")

    @extend_schema(operation_id="commands_list")
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """List commands, newest first."""
        return super().get(request, *args, **kwargs)

    @extend_schema(
        operation_id="commands_push", request=PushCommandInput, responses={200: PushCommandOutput}
    )
    def post(self, request: Request) -> Response:
        """Queue a command for the device named in the body."""
        wanted = PushCommandInput(data=request.data)
        wanted.is_valid(raise_exception=True)
        given = wanted.validated_data
        kind, payload, options = order_of(given, kind="command_type", principal=self.principal)
        travel = travel_of(given, payload)
        device = visible_or_404(
            Device.objects.select_related("organization"),
            self.principal,
            device_id=given["device_id"],
        )
        command = services.command_queue(
            device=device,
            kind=kind,
            payload=payload,
            options=options,
            travel=travel,
            request_id=given.get("request_id"),
            actor=self.principal,
            now=clock.now(),
        )
        return Response(_pushed(command))


def _pushed(command: Command) -> dict[str, Any]:
    path = f"/api/v1/commands/{command.pk}"
    outcome = {
        "success": True,
        "request_id": command.pk,
        "message": f"Queued for {command.device.device_id}.",
        "timestamp": command.created_at,
        "status": command.status,
        "device_id": command.device.device_id,
        "links": {"self": path, "status": f"{path}/status", "cancel": f"{path}/cancel"},
    }
    return dict(PushCommandOutput(outcome).data)


def _refused(refusal: DomainError, now: Any) -> dict[str, Any]:
    outcome = {
        "success": False,
        "request_id": None,
        "message": refusal.message,
        "timestamp": now,
        "status": None,
        "device_id": None,
        "links": {},
    }
    return dict(PushCommandOutput(outcome).data)


class CommandPush(PortalView):
    """Many commands in one request."""

    actions = {"POST": Action.COMMAND_CREATE}
    serializer_class = PushBatchOutput

    @extend_schema(
        operation_id="commands_push_batch",
        request=PushBatchInput,
        responses={200: PushBatchOutput},
    )
    def post(self, request: Request) -> Response:
        """Queue each command by itself; a refused one does not hold up the others.

        With `atomic` one refusal refuses them all (422 `batch_refused`).
        """
        wanted = PushBatchInput(data=request.data)
        wanted.is_valid(raise_exception=True)
        organization = self.principal.acting_organization()
        now = clock.now()
        batch, outcome = services.commands_push(
            orders=self._orders(wanted.validated_data["commands"]),
            organization=organization,
            actor=self.principal,
            now=now,
            all_or_none=wanted.validated_data["atomic"],
        )
        results = [
            _refused(one, now) if isinstance(one, DomainError) else _pushed(one) for one in outcome
        ]
        successful = sum(1 for result in results if result["success"])
        return Response(
            {
                "total_commands": len(results),
                "successful": successful,
                "failed": len(results) - successful,
                "results": results,
                "batch_id": batch.pk,
            }
        )

    def _orders(self, items: list[dict[str, Any]]) -> list[services.Order | DomainError]:
        checked = [PushCommandInput(data=item) for item in items]
        named = {one.validated_data["device_id"] for one in checked if one.is_valid()}
        visible = Device.objects.visible_to(self.principal).filter(device_id__in=named)
        devices = {device.device_id: device for device in visible.select_related("organization")}
        return [self._order(one, devices) for one in checked]

    def _order(
        self, wanted: PushCommandInput, devices: dict[str, Device]
    ) -> services.Order | DomainError:
        if wanted.errors:
            return _invalid(wanted.errors)
        given = wanted.validated_data
        device = devices.get(given["device_id"])
        if device is None:
            return InvalidInput("There is no such device.")
        try:
            kind, payload, options = order_of(given, kind="command_type", principal=self.principal)
            request_id: UUID | None = given.get("request_id")
            return services.Order(
                device, kind, payload, options, travel_of(given, payload), request_id
            )
        except Http404:
            return InvalidInput("There is no such template.")
        except ValidationError as error:
            return _invalid(error.detail)
        except DomainError as refusal:
            return refusal


def _invalid(errors: Any) -> DomainError:
    return InvalidInput("; ".join(f"{name}: {_first(why)}" for name, why in errors.items()))


def _first(why: Any) -> str:
    """Return the first sentence of what may be nested."""
    while isinstance(why, dict | list) and why:
        why = next(iter(why.values())) if isinstance(why, dict) else why[0]
    return str(why)
