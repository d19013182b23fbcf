"""Stored scripts and command templates over REST."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework.generics import ListAPIView
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.base import PortalView, visible_or_404
from accounts.policy import Action
from commands.api.library_serializers import (
    ScriptInput,
    ScriptOutput,
    ScriptTextInput,
    ScriptVersionOutput,
    TemplateSerializer,
)
from commands.models import CommandTemplate, Script, ScriptVersion
from commands.scripts import scripts
from commands.services import library
from common import clock


class Scripts(PortalView, ListAPIView[Script]):
    """The scripts of the organisation."""

    actions = {"GET": Action.SCRIPT_READ, "POST": Action.SCRIPT_MANAGE}
    serializer_class = ScriptOutput
    queryset = Script.objects.none()
    search_fields = ["name", "description"]
    ordering_fields = ["name", "created_at"]

    def get_queryset(self) -> Any:
        """Only what the caller may see."""
        return scripts().visible_to(self.principal).order_by("name", "pk")

    @extend_schema(operation_id="scripts_list")
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """List scripts, those withdrawn too."""
        return super().get(request, *args, **kwargs)

    @extend_schema(
        operation_id="scripts_create", request=ScriptInput, responses={201: ScriptOutput}
    )
    def post(self, request: Request) -> Response:
        """Store a script and sign its first version."""
        wanted = ScriptInput(data=request.data)
        wanted.is_valid(raise_exception=True)
        given = dict(wanted.validated_data)
        script = library.script_create(
            organization=self.principal.acting_organization(),
            name=given.pop("name"),
            description=given.pop("description"),
            text=library.ScriptText(**given),
            actor=self.principal,
            now=clock.now(),
        )
        stored = visible_or_404(scripts(), self.principal, pk=script.pk)
        return Response(ScriptOutput(stored).data, status=201)


class OneScriptView(PortalView):
    """Base of endpoints about one script, named by its name."""

    def script(self, name: str) -> Script:
        """Return the visible script or raise 404."""
        found: Script = visible_or_404(scripts(), self.principal, name=name)
        return found


class ScriptDetail(OneScriptView):
    """One script."""

    actions = {"GET": Action.SCRIPT_READ, "PATCH": Action.SCRIPT_MANAGE}
    serializer_class = ScriptOutput

    @extend_schema(operation_id="scripts_read")
    def get(self, _request: Request, name: str) -> Response:
        """Return the script; its texts are in its versions."""
        return Response(ScriptOutput(self.script(name)).data)

    @extend_schema(operation_id="scripts_update", request=ScriptOutput)
    def patch(self, request: Request, name: str) -> Response:
        """Change the description. A text is changed by a new version."""
        script = self.script(name)
        wanted = ScriptOutput(script, data=request.data, partial=True)
        wanted.is_valid(raise_exception=True)
        library.script_update(
            script=script, changes=dict(wanted.validated_data), actor=self.principal
        )
        return Response(ScriptOutput(self.script(name)).data)


class ScriptVersions(OneScriptView, ListAPIView[ScriptVersion]):
    """The texts of a script."""

    actions = {"GET": Action.SCRIPT_READ, "POST": Action.SCRIPT_MANAGE}
    serializer_class = ScriptVersionOutput
    queryset = ScriptVersion.objects.none()
    ordering_fields = ["number"]

    def get_queryset(self) -> Any:
        """Only of a script the caller may see."""
        script = self.script(self.kwargs.get("name", ""))
        rows = ScriptVersion.objects.visible_to(self.principal).filter(script=script)
        return rows.order_by("-number")

    @extend_schema(operation_id="scripts_versions_list")
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """List the versions, newest first."""
        return super().get(request, *args, **kwargs)

    @extend_schema(
        operation_id="scripts_versions_create",
        request=ScriptTextInput,
        responses={201: ScriptVersionOutput},
    )
    def post(self, request: Request, name: str) -> Response:
        """Sign and store a new text; commands that are queued keep theirs."""
        script = self.script(name)
        wanted = ScriptTextInput(data=request.data)
        wanted.is_valid(raise_exception=True)
        version = library.script_version_add(
            script=script,
            text=library.ScriptText(**wanted.validated_data),
            actor=self.principal,
            now=clock.now(),
        )
        return Response(ScriptVersionOutput(version).data, status=201)


class WithdrawScript(OneScriptView):
    """Letting no device run a script any more."""

    actions = {"POST": Action.SCRIPT_MANAGE}
    serializer_class = ScriptOutput

    @extend_schema(operation_id="scripts_withdraw", request=None, responses=ScriptOutput)
    def post(self, _request: Request, name: str) -> Response:
        """Withdraw the script for good; runs that wait are cancelled."""
        library.script_withdraw(script=self.script(name), actor=self.principal, now=clock.now())
        return Response(ScriptOutput(self.script(name)).data)


class CommandTemplates(PortalView, ListAPIView[CommandTemplate]):
    """Commands the organisation saved to use again."""

    actions = {"GET": Action.TEMPLATE_READ, "POST": Action.TEMPLATE_MANAGE}
    serializer_class = TemplateSerializer
    queryset = CommandTemplate.objects.none()
    search_fields = ["name", "description"]
    ordering_fields = ["name", "created_at"]

    def get_queryset(self) -> Any:
        """Only what the caller may see."""
        return CommandTemplate.objects.visible_to(self.principal).order_by("name", "pk")

    @extend_schema(operation_id="command_templates_list")
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """List the templates."""
        return super().get(request, *args, **kwargs)

    @extend_schema(operation_id="command_templates_create", responses={201: TemplateSerializer})
    def post(self, request: Request) -> Response:
        """Save a command; its payload has to fit its type."""
        wanted = TemplateSerializer(data=request.data)
        wanted.is_valid(raise_exception=True)
        template = library.template_create(
            organization=self.principal.acting_organization(),
            values=dict(wanted.validated_data),
            actor=self.principal,
            now=clock.now(),
        )
        return Response(TemplateSerializer(template).data, status=201)


class CommandTemplateDetail(PortalView):
    """One saved command."""

    actions = {
        "GET": Action.TEMPLATE_READ,
        "PATCH": Action.TEMPLATE_MANAGE,
        "DELETE": Action.TEMPLATE_MANAGE,
    }
    serializer_class = TemplateSerializer

    def _template(self, pk: str) -> CommandTemplate:
        rows = CommandTemplate.objects.select_related("organization")
        found: CommandTemplate = visible_or_404(rows, self.principal, pk=pk)
        return found

    @extend_schema(operation_id="command_templates_read")
    def get(self, _request: Request, pk: str) -> Response:
        """Return the template."""
        return Response(TemplateSerializer(self._template(pk)).data)

    @extend_schema(operation_id="command_templates_update")
    def patch(self, request: Request, pk: str) -> Response:
        """Change what the body names."""
        template = self._template(pk)
        wanted = TemplateSerializer(template, data=request.data, partial=True)
        wanted.is_valid(raise_exception=True)
        updated = library.template_update(
            template=template, changes=dict(wanted.validated_data), actor=self.principal
        )
        return Response(TemplateSerializer(updated).data)

    @extend_schema(operation_id="command_templates_delete", responses={204: None})
    def delete(self, _request: Request, pk: str) -> Response:
        """Throw the template away; commands made from it stay."""
        library.template_delete(template=self._template(pk), actor=self.principal)
        return Response(status=204)
