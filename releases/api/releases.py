"""Releases over REST: declared, validated, published, withdrawn."""

from typing import Any

from django.http import Http404
from django_filters import rest_framework as filters
from drf_spectacular.utils import extend_schema
from rest_framework.generics import ListAPIView
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.base import PortalView
from accounts.policy import Action
from common import clock, limits
from common.parsers import StrictJSONParser
from releases.api.parsers import BundleFormParser, role_of
from releases.api.release_serializers import (
    LatestQuery,
    ReleaseChangeInput,
    ReleaseDetailOutput,
    ReleaseInput,
    ReleaseOutput,
    ReleaseReasonInput,
    ReleaseUploadInput,
)
from releases.models import ANY_ROLE, Release
from releases.selectors import named
from releases.services import publishing, uploads
from releases.services import releases as services


class ReleaseFilter(filters.FilterSet):
    """Narrow the list of releases."""

    state = filters.MultipleChoiceFilter(choices=Release.State.choices)
    channel = filters.CharFilter(max_length=limits.SHORT_CHARS)
    role = filters.CharFilter(max_length=limits.SHORT_CHARS, method="for_role")
    commit = filters.CharFilter(lookup_expr="startswith", max_length=64)

    class Meta:
        model = Release
        fields: list[str] = []

    def for_role(self, releases: Any, _name: str, value: str) -> Any:
        """Releases a device of the role may run."""
        return releases.for_role(value)


class Releases(PortalView, ListAPIView[Release]):
    """The releases of the organisation."""

    actions = {"GET": Action.RELEASE_READ, "POST": Action.RELEASE_MANAGE}
    serializer_class = ReleaseOutput
    queryset = Release.objects.none()
    filterset_class = ReleaseFilter
    search_fields = ["version", "commit", "changelog"]
    ordering_fields = ["version", "created_at", "published_at", "counter"]
    parser_classes = [StrictJSONParser, BundleFormParser]

    def get_queryset(self) -> Any:
        """Only what the caller may see, newest first."""
        rows = Release.objects.visible_to(self.principal)
        return rows.prefetch_related("artifacts__release").order_by("-id")

    @extend_schema(operation_id="releases_list")
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """List releases, newest first."""
        return super().get(request, *args, **kwargs)

    @extend_schema(
        operation_id="releases_create",
        request={
            "application/json": ReleaseInput,
            "multipart/form-data": ReleaseUploadInput,
        },
        responses={201: ReleaseDetailOutput},
    )
    def post(self, request: Request) -> Response:
        """Declare a release; as a form with `file` its bundle comes along.

        A form takes bundles up to 256 MiB; larger ones go to the release's own upload.
        """
        is_form = "file" in request.FILES
        wanted = (
            ReleaseUploadInput(data=_form(request)) if is_form else ReleaseInput(data=request.data)
        )
        wanted.is_valid(raise_exception=True)
        given = dict(wanted.validated_data)
        file, role, sha256 = (given.pop(name, None) for name in ("file", "role", "sha256"))
        now = clock.now()
        release = services.release_create(
            organization=self.principal.acting_organization(),
            values=given,
            actor=self.principal,
            now=now,
        )
        if file is not None:
            uploads.artifact_store(
                release=release,
                role=role_of(role),
                content=file,
                sha256=sha256,
                actor=self.principal,
                now=now,
            )
        stored = self.get_queryset().get(pk=release.pk)
        return Response(ReleaseDetailOutput(stored).data, status=201)


def _form(request: Request) -> dict[str, Any]:
    """Return a form as JSON of the same names; `roles` is repeated, or parted by commas."""
    form: Any = request.data
    given: dict[str, Any] = {name: form.get(name) for name in form}
    roles = [word for text in form.getlist("roles") for word in text.split(",") if word]
    return {**given, "roles": [word.strip() for word in roles]}


class OneReleaseView(PortalView):
    """Base of endpoints about one release, named by its version or its id."""

    serializer_class: Any = ReleaseDetailOutput

    def release(self, version: str) -> Release:
        """Return the visible release or raise 404."""
        rows = Release.objects.select_related("organization").visible_to(self.principal)
        found = named(rows.prefetch_related("artifacts__release"), version).first()
        if found is None:
            raise Http404
        return found

    def shown(self, release: Release) -> Response:
        """Return the release as it is now."""
        return Response(ReleaseDetailOutput(self.release(release.version)).data)


class LatestRelease(PortalView):
    """What a device of a role would run at best."""

    actions = {"GET": Action.RELEASE_READ}
    serializer_class = ReleaseDetailOutput

    @extend_schema(operation_id="releases_latest", parameters=[LatestQuery])
    def get(self, request: Request) -> Response:
        """Return the release published last for the role in the channel; 404 when there is none."""
        asked = LatestQuery(data=request.query_params)
        asked.is_valid(raise_exception=True)
        given = asked.validated_data
        rows = Release.objects.visible_to(self.principal).published()
        rows = rows.filter(channel=given["channel"])
        if given["role"] and given["role"] != ANY_ROLE:
            rows = rows.for_role(given["role"])
        newest = rows.prefetch_related("artifacts__release").order_by("-counter").first()
        if newest is None:
            raise Http404
        return Response(ReleaseDetailOutput(newest).data)


class ReleaseDetail(OneReleaseView):
    """One release."""

    actions = {
        "GET": Action.RELEASE_READ,
        "PATCH": Action.RELEASE_MANAGE,
        "DELETE": Action.RELEASE_MANAGE,
    }

    @extend_schema(operation_id="releases_read")
    def get(self, _request: Request, version: str) -> Response:
        """Return the release with its bundles and what its last validation found."""
        return Response(ReleaseDetailOutput(self.release(version)).data)

    @extend_schema(operation_id="releases_update", request=ReleaseChangeInput)
    def patch(self, request: Request, version: str) -> Response:
        """Change the release until it is published; a validated one becomes a draft."""
        release = self.release(version)
        wanted = ReleaseChangeInput(data=request.data, partial=True)
        wanted.is_valid(raise_exception=True)
        changed = services.release_update(
            release=release, changes=dict(wanted.validated_data), actor=self.principal
        )
        return self.shown(changed)

    @extend_schema(operation_id="releases_delete", responses={204: None})
    def delete(self, _request: Request, version: str) -> Response:
        """Throw a release away that was never published."""
        services.release_delete(release=self.release(version), actor=self.principal)
        return Response(status=204)


class PublishRelease(OneReleaseView):
    """Making a release final."""

    actions = {"POST": Action.RELEASE_MANAGE}

    @extend_schema(operation_id="releases_publish", request=None)
    def post(self, _request: Request, version: str) -> Response:
        """Publish a validated release; 422 `release_invalid` lists what validation found."""
        release = self.release(version)
        publishing.release_publish(release=release, actor=self.principal, now=clock.now())
        return self.shown(release)


class WithdrawRelease(OneReleaseView):
    """Letting no device get a release any more."""

    actions = {"POST": Action.RELEASE_MANAGE}

    @extend_schema(operation_id="releases_withdraw", request=ReleaseReasonInput)
    def post(self, request: Request, version: str) -> Response:
        """Withdraw a published release; devices that run it keep it."""
        release = self.release(version)
        wanted = ReleaseReasonInput(data=request.data)
        wanted.is_valid(raise_exception=True)
        publishing.release_withdraw(
            release=release,
            reason=wanted.validated_data["reason"],
            actor=self.principal,
            now=clock.now(),
        )
        return self.shown(release)
