"""Batches over REST."""

from collections.abc import Mapping
from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework.generics import ListAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import Serializer

from accounts.api.base import PortalView, visible_or_404
from accounts.policy import Action
from accounts.principals import Principal
from commands import services
from commands.api.batch_filters import BatchFilter, BatchTargetFilter
from commands.api.batch_serializers import (
    BatchApproveInput,
    BatchCancelInput,
    BatchDetail,
    BatchInput,
    BatchOutput,
    BatchPreviewInput,
    BatchPreviewOutput,
    BatchReasonInput,
    BatchRetryInput,
    BatchTargetOutput,
)
from commands.api.options import OptionsInput
from commands.api.orders import order_of
from commands.models import BatchTarget, CommandBatch
from commands.options import Options
from commands.services import batch_progress, batch_targets, batches
from common import clock, limits
from common.paging import CURSOR_FILTERS, Cursors


def checked(serializer: type[Serializer[Any]], request: Request) -> dict[str, Any]:
    """Return the validated body."""
    wanted = serializer(data=request.data)
    wanted.is_valid(raise_exception=True)
    return dict(wanted.validated_data)


def plan_of(given: Mapping[str, Any]) -> services.Plan:
    """Return the plan among the validated members of a batch."""
    names = [name for name in vars(services.Plan()) if name in given]
    return services.Plan(**{name: given[name] for name in names})


def ordered(given: Mapping[str, Any], principal: Principal) -> services.BatchOrder:
    """Return what every device is told, of the validated members of a batch."""
    flat = {**given, **given.get("options", {})}
    kind, payload, options = order_of(flat, kind="type", principal=principal)
    usual = vars(Options())
    said = {name: value for name, value in vars(options).items() if value != usual[name]}
    stored = OptionsInput(said).data
    return services.BatchOrder(kind, payload, {name: stored[name] for name in said})


def shown(batch: CommandBatch, principal: Principal) -> dict[str, Any]:
    """Return a batch with its progress over the devices the caller sees."""
    progress = batch_progress.progress_of(batch, principal)
    batch.progress = {  # type: ignore[attr-defined]
        "total": progress.total,
        "ended": progress.ended,
        "by_status": {one: progress.by_status[one] for one in batch_progress.STATUSES},
        "by_wave": [
            {"wave": wave, "total": counts.total(), "by_status": dict(counts)}
            for wave, counts in sorted(progress.by_wave.items())
        ],
    }
    batch.failures = batch_progress.failures_of(batch, principal)  # type: ignore[attr-defined]
    batch.skipped = batch_progress.skipped_of(batch, principal)  # type: ignore[attr-defined]
    answer = dict(BatchDetail(batch).data)
    if not batches.sees_whole(batch, principal):
        answer |= {"selection": None, "unmatched": None}
    return answer


class Batches(PortalView, ListAPIView[CommandBatch]):
    """Every batch of the organisation."""

    actions = {"GET": Action.COMMAND_READ, "POST": Action.COMMAND_CREATE}
    serializer_class = BatchOutput
    queryset = CommandBatch.objects.none()
    filterset_class = BatchFilter
    pagination_class = Cursors
    filter_backends = CURSOR_FILTERS
    search_fields = ["name", "created_by"]

    def get_queryset(self) -> Any:
        """Only what the caller may see."""
        return CommandBatch.objects.visible_to(self.principal)

    @extend_schema(operation_id="batches_list")
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """List batches, newest first."""
        return super().get(request, *args, **kwargs)

    @extend_schema(operation_id="batches_create", request=BatchInput, responses={201: BatchDetail})
    def post(self, request: Request) -> Response:
        """Freeze the list of devices and start, unless it is a draft.

        The answer comes before anything is sent: commands are made wave by wave.
        """
        given = checked(BatchInput, request)
        batch = services.batch_create(
            name=given["name"],
            order=ordered(given, self.principal),
            selection=given["selection"],
            plan=plan_of(given),
            principal=self.principal,
            now=clock.now(),
            draft=given["draft"],
        )
        return Response(shown(batch, self.principal), status=201)


class BatchPreview(PortalView):
    """What a selection means."""

    actions = {"POST": Action.COMMAND_CREATE}
    serializer_class = BatchPreviewOutput

    @extend_schema(
        operation_id="batches_preview", request=BatchPreviewInput, responses=BatchPreviewOutput
    )
    def post(self, request: Request) -> Response:
        """Count the devices a batch would have now, and say why others are left out."""
        given = checked(BatchPreviewInput, request)
        choice = batch_targets.choose(selection=given["selection"], principal=self.principal)
        answer = {
            "count": len(choice.taking),
            "by_wave": batch_targets.wave_sizes(
                total=len(choice.taking), waves=given.get("waves", [])
            ),
            "devices": [one.device_id for one in choice.taking[: limits.BATCH_SHOWN]],
            "skipped_count": len(choice.left_out),
            "skipped": choice.left_out[: limits.BATCH_CHUNK],
        }
        return Response(BatchPreviewOutput(answer).data)


def batch_or_404(principal: Principal, pk: str) -> CommandBatch:
    """Return the visible batch or raise 404."""
    rows = CommandBatch.objects.select_related("organization")
    found: CommandBatch = visible_or_404(rows, principal, pk=pk)
    return found


class OneBatchView(PortalView):
    """Base of endpoints about one batch."""

    serializer_class = BatchDetail

    def batch(self, pk: str) -> CommandBatch:
        """Return the visible batch or raise 404."""
        return batch_or_404(self.principal, pk)

    def answer(self, batch: CommandBatch, status: int = 200) -> Response:
        """Return a batch with its progress."""
        return Response(shown(batch, self.principal), status=status)


class Batch(OneBatchView):
    """One batch."""

    actions = {"GET": Action.COMMAND_READ}

    @extend_schema(operation_id="batches_read")
    def get(self, _request: Request, pk: str) -> Response:
        """Return the batch, its progress, its failures by reason and who was left out."""
        return self.answer(self.batch(pk))


class BatchTargets(PortalView, ListAPIView[BatchTarget]):
    """The devices of a batch."""

    actions = {"GET": Action.COMMAND_READ}
    serializer_class = BatchTargetOutput
    queryset = BatchTarget.objects.none()
    filterset_class = BatchTargetFilter
    pagination_class = Cursors
    cursor_ordering = "id"
    filter_backends = CURSOR_FILTERS
    search_fields = ["device__device_id"]

    def get_queryset(self) -> Any:
        """Only devices the caller may see, of a batch they may see."""
        batch = batch_or_404(self.principal, self.kwargs["pk"])
        targets = BatchTarget.objects.visible_to(self.principal).filter(batch=batch)
        return targets.select_related("device", "command")

    @extend_schema(operation_id="batches_targets")
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """List the devices wave by wave, with what became of each."""
        return super().get(request, *args, **kwargs)


class StartBatch(OneBatchView):
    """Letting a draft go."""

    actions = {"POST": Action.COMMAND_CREATE}

    @extend_schema(operation_id="batches_start", request=BatchReasonInput, responses=BatchDetail)
    def post(self, request: Request, pk: str) -> Response:
        """Start a draft; a large one then waits for a second person."""
        given = checked(BatchReasonInput, request)
        batch = services.batch_start(
            batch=self.batch(pk), principal=self.principal, now=clock.now(), **given
        )
        return self.answer(batch)


class ApproveBatch(OneBatchView):
    """The second person's word."""

    actions = {"POST": Action.BATCH_APPROVE}

    @extend_schema(operation_id="batches_approve", request=BatchApproveInput, responses=BatchDetail)
    def post(self, request: Request, pk: str) -> Response:
        """Let a batch go that somebody else made. API keys cannot."""
        given = checked(BatchApproveInput, request)
        batch = services.batch_approve(
            batch=self.batch(pk), principal=self.principal, now=clock.now(), **given
        )
        return self.answer(batch)


class PauseBatch(OneBatchView):
    """Holding a batch."""

    actions = {"POST": Action.COMMAND_CANCEL}

    @extend_schema(operation_id="batches_pause", request=BatchReasonInput, responses=BatchDetail)
    def post(self, request: Request, pk: str) -> Response:
        """Send no more, and hold what no device has fetched. What runs, runs on."""
        given = checked(BatchReasonInput, request)
        batch = services.batch_pause(batch=self.batch(pk), principal=self.principal, **given)
        return self.answer(batch)


class ResumeBatch(OneBatchView):
    """Letting a paused batch go on."""

    actions = {"POST": Action.COMMAND_CREATE}

    @extend_schema(operation_id="batches_resume", request=BatchReasonInput, responses=BatchDetail)
    def post(self, request: Request, pk: str) -> Response:
        """Go on where it was paused."""
        given = checked(BatchReasonInput, request)
        batch = services.batch_resume(batch=self.batch(pk), principal=self.principal, **given)
        return self.answer(batch)


class CancelBatch(OneBatchView):
    """Ending a batch."""

    actions = {"POST": Action.COMMAND_CANCEL}

    @extend_schema(operation_id="batches_cancel", request=BatchCancelInput, responses=BatchDetail)
    def post(self, request: Request, pk: str) -> Response:
        """Take back what waits; with `force` also what devices hold or run."""
        given = checked(BatchCancelInput, request)
        batch = services.batch_cancel(
            batch=self.batch(pk), principal=self.principal, now=clock.now(), **given
        )
        return self.answer(batch)


class RetryFailed(OneBatchView):
    """Another go where it went wrong."""

    actions = {"POST": Action.COMMAND_CREATE}

    @extend_schema(
        operation_id="batches_retry_failed",
        request=BatchRetryInput,
        responses={201: BatchDetail},
    )
    def post(self, request: Request, pk: str) -> Response:
        """Make a new batch of the devices that failed, timed out or expired."""
        given = checked(BatchRetryInput, request)
        batch = services.batch_retry_failed(
            batch=self.batch(pk), principal=self.principal, now=clock.now(), **given
        )
        return self.answer(batch, status=201)
