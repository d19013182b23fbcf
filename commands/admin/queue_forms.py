"""The forms of a command to queue: which, how, and what its kind asks for."""

from dataclasses import asdict
from typing import Any

from django import forms
from django.db.models import QuerySet
from unfold.widgets import (
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextInputWidget,
)

from accounts.principals import Principal
from commands import registry, scripts
from commands.admin.option_forms import OptionsForm, entered_as
from commands.admin.payload_forms import PayloadForm, initial_value, schema_field
from commands.models import CommandTemplate, ScriptVersion
from commands.options import Options
from common import limits
from common.errors import DomainError

DEFAULT_KIND = "restart_service"
# Scripts offered in the browser; by name the API runs any.
_SCRIPTS = 100


def newest_versions(principal: Principal) -> list[ScriptVersion]:
    """Return what each script the person may run is now."""
    usable = ScriptVersion.objects.visible_to(principal).filter(script__withdrawn_at__isnull=True)
    newest = usable.order_by("script__name", "-number").distinct("script__name")
    return list(newest.select_related("script")[:_SCRIPTS])


class RunScriptForm(forms.Form):
    """A stored script and its arguments; only those of the chosen script are read."""

    runs_script = True

    use_required_attribute = False

    script = forms.ChoiceField(widget=UnfoldAdminSelectWidget())
    version = forms.IntegerField(
        min_value=1,
        max_value=limits.INT_MAX,
        required=False,
        widget=UnfoldAdminIntegerFieldWidget(),
        help_text="Empty: the newest.",
    )

    def __init__(
        self,
        kind: registry.CommandKind,
        versions: list[ScriptVersion],
        data: Any = None,
        initial: dict[str, Any] | None = None,
    ) -> None:
        given = initial or {}
        super().__init__(data, prefix=kind.name, initial=given)
        self.kind = kind
        self.versions = versions
        field: Any = self.fields["script"]
        field.choices = [(one.script.name, str(one.script)) for one in versions]
        self.chosen = self["script"].value() or (versions[0].script.name if versions else "")
        for one in versions:
            is_chosen = one.script.name == self.chosen
            self._add_arguments(one, given.get("arguments", {}) if is_chosen else {})

    def _add_arguments(self, one: ScriptVersion, given: dict[str, Any]) -> None:
        schema, is_chosen = one.arguments_schema, one.script.name == self.chosen
        for name, member in schema.get("properties", {}).items():
            required = is_chosen and name in schema.get("required", [])
            field = schema_field(name, member, required=required)
            field.initial = initial_value(given.get(name))
            self.fields[f"{one.script.name}.{name}"] = field

    @property
    def script_field(self) -> forms.BoundField:
        """The choice that decides about the arguments."""
        return self["script"]

    @property
    def version_field(self) -> forms.BoundField:
        return self["version"]

    @property
    def arguments(self) -> list[dict[str, Any]]:
        """The fields of each script."""
        return [
            {
                "script": one.script,
                "is_chosen": one.script.name == self.chosen,
                "fields": [self[name] for name in self.fields if name.startswith(self._mark(one))],
            }
            for one in self.versions
        ]

    def _mark(self, one: ScriptVersion) -> str:
        return f"{one.script.name}."

    def payload(self) -> dict[str, Any]:
        """Return what was entered; arguments left empty are not sent."""
        entered = self.cleaned_data
        mark = f"{entered['script']}."
        arguments = {
            name.removeprefix(mark): value
            for name, value in entered.items()
            if name.startswith(mark) and value not in (None, "")
        }
        payload: dict[str, Any] = {"script": entered["script"], "arguments": arguments}
        return payload | ({"version": entered["version"]} if entered["version"] else {})


class QueueForm(OptionsForm):
    """Which command for which devices, and the templates beside it."""

    kind = forms.ChoiceField(label="Command", widget=UnfoldAdminSelectWidget())
    devices = forms.CharField(widget=forms.HiddenInput(), required=False)
    template = forms.ModelChoiceField(
        label="Start from a template",
        queryset=CommandTemplate.objects.none(),
        required=False,
        widget=UnfoldAdminSelectWidget(),
    )
    new_template = forms.CharField(
        label="Name of the template",
        max_length=limits.NAME_CHARS,
        required=False,
        widget=UnfoldAdminTextInputWidget(attrs={"autocomplete": "off"}),
    )

    BESIDE = ("kind", "devices", "template", "new_template")

    def __init__(self, templates: QuerySet[CommandTemplate], *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        kind: Any = self.fields["kind"]
        kind.choices = [(one.name, one.label) for one in registry.kinds()]
        template: Any = self.fields["template"]
        template.queryset = templates

    @property
    def more(self) -> list[forms.BoundField]:
        """The options behind “More”."""
        return [field for field in super().more if field.name not in self.BESIDE]


class Sheet:
    """The whole page: the form, and one form per kind of command."""

    def __init__(
        self,
        principal: Principal,
        devices: str = "",
        data: Any = None,
        template: CommandTemplate | None = None,
        kind: str = DEFAULT_KIND,
    ) -> None:
        initial: dict[str, Any] = {"kind": kind, "devices": devices}
        if template is not None:
            initial |= entered_as(Options.stored(template.options))
            initial |= {"kind": template.kind, "template": template.pk}
        templates = CommandTemplate.objects.visible_to(principal).order_by("name")
        self.principal = principal
        self.form = QueueForm(templates, data, initial=initial)
        self.versions = newest_versions(principal)
        self.payloads = [self._payload_form(kind, data, template) for kind in registry.kinds()]

    def _payload_form(
        self, kind: registry.CommandKind, data: Any, template: CommandTemplate | None
    ) -> PayloadForm | RunScriptForm:
        # Only the chosen kind's fields are read: the others may stand half filled in.
        given = data if data and data.get("kind") == kind.name else None
        initial = template.payload if template and template.kind == kind.name else None
        if kind.name == scripts.KIND:
            return RunScriptForm(kind, self.versions, given, initial)
        return PayloadForm(kind, given, initial)

    @property
    def details(self) -> PayloadForm | RunScriptForm | None:
        """The form of the chosen kind, once something was sent."""
        return next((one for one in self.payloads if one.is_bound), None)

    def is_valid(self) -> bool:
        """Say whether the command can be queued; what is wrong stands in the forms."""
        details = self.details
        found = [self.form.is_valid(), details is not None and details.is_valid()]
        if not all(found) or details is None:
            return False
        try:
            registry.prepared(
                name=details.kind.name,
                organization_id=self.principal.acting_organization().pk,
                payload=details.payload(),
            )
        except DomainError as refusal:
            details.add_error(None, refusal.message)
            return False
        return True

    def order(self) -> tuple[str, dict[str, Any], Options]:
        """Return type, payload and options of a valid page."""
        details = self.details
        if details is None:
            raise ValueError("Nothing was sent.")
        return details.kind.name, details.payload(), self.form.options()

    def chosen_template(self) -> CommandTemplate | None:
        """Return the template that was asked for; None stands in the form."""
        self.form.is_valid()
        template: CommandTemplate | None = self.form.cleaned_data.get("template")
        if template is None and "template" not in self.form.errors:
            self.form.add_error("template", "Choose one.")
        return template

    def said(self) -> dict[str, Any]:
        """Return the options of a valid page that are not as usual, in JSON values."""
        usual, said = asdict(Options()), asdict(self.form.options())
        if said["not_before"]:
            said["not_before"] = said["not_before"].isoformat()
        return {name: value for name, value in said.items() if value != usual[name]}

    def template_values(self) -> dict[str, Any]:
        """Return a valid page as a template keeps it: without the moment, and what is as usual."""
        kind, payload, _options = self.order()
        kept = {name: value for name, value in self.said().items() if name != "not_before"}
        name = self.form.cleaned_data["new_template"]
        return {"name": name, "kind": kind, "payload": payload, "options": kept}
