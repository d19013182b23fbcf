"""What an organisation keeps to use again: signed scripts, and commands filled in beforehand."""

from dataclasses import asdict, dataclass, field
from datetime import datetime
from hashlib import sha256
from typing import Any

from django.db import IntegrityError, transaction

from accounts.models import Organization
from audit import services as audit
from audit.services import Actor
from commands import registry
from commands.errors import NameTaken, ScriptWithdrawn
from commands.models import Command, CommandTemplate, Script, ScriptVersion
from commands.scripts import KIND, arguments_schema, signed_document
from common import limits, signing
from common.errors import InvalidInput


@dataclass(frozen=True)
class ScriptText:
    """One version of a script: what runs, with what, for how long at most."""

    body: str
    interpreter: str = ScriptVersion.Interpreter.SH
    arguments_schema: dict[str, Any] = field(default_factory=dict)
    timeout_s: int = limits.SCRIPT_RUN_S
    output_bytes: int = limits.OUTPUT_TOTAL_CHARS
    disruptive: bool = False


@transaction.atomic
def script_create(
    *,
    organization: Organization,
    name: str,
    text: ScriptText,
    actor: Actor,
    now: datetime,
    description: str = "",
) -> Script:
    """Store a script with its first version, signed.

    Raises NameTaken, PayloadRefused for a schema of arguments that is none, InvalidInput or
    SigningKeyMissing.
    """
    script = Script(organization=organization, name=name, description=description, created_at=now)
    try:
        with transaction.atomic():
            script.save(force_insert=True)
    except IntegrityError:
        raise NameTaken(
            f"There is a script {name} already. Add a version to it, or choose another name."
        ) from None
    version = _add(script=script, number=1, text=text, actor=actor, now=now)
    audit.record(
        actor=actor,
        organization=organization,
        action="script.create",
        target=script,
        after={"description": description, **_told(version)},
    )
    return script


@transaction.atomic
def script_version_add(
    *, script: Script, text: ScriptText, actor: Actor, now: datetime
) -> ScriptVersion:
    """Sign and store a new text of a script; runs that are queued keep theirs.

    Raises ScriptWithdrawn and what `script_create` raises.
    """
    row = Script.objects.select_for_update(of=("self",)).select_related("organization")
    kept = row.get(pk=script.pk)
    if kept.withdrawn_at is not None:
        raise ScriptWithdrawn(f"The script {kept.name} was withdrawn. Store it under another name.")
    newest = kept.versions.order_by("-number").values_list("number", flat=True).first() or 0
    version = _add(script=kept, number=newest + 1, text=text, actor=actor, now=now)
    audit.record(
        actor=actor,
        organization=kept.organization,
        action="script.version_add",
        target=kept,
        after=_told(version),
    )
    return version


def _add(
    *, script: Script, number: int, text: ScriptText, actor: Actor, now: datetime
) -> ScriptVersion:
    # A browser sends a text with the line ends of another system, which no shell takes.
    body = text.body.replace("\r\n", "\n")
    if not body.strip():
        raise InvalidInput("The script is empty.", errors={"body": ["Write something to run."]})
    version = ScriptVersion(
        organization=script.organization,
        script=script,
        number=number,
        created_at=now,
        created_by=actor.label[: limits.LINE_CHARS],
        **{
            **asdict(text),
            "body": body,
            "arguments_schema": arguments_schema(text.arguments_schema),
        },
    )
    document = signed_document(version, name=script.name, organization=script.organization.slug)
    version.signature, version.key_id = signing.sign(document)
    version.save(force_insert=True)
    return version


def _told(version: ScriptVersion) -> dict[str, Any]:
    return {
        "version": version.number,
        "interpreter": version.interpreter,
        "body_sha256": sha256(version.body.encode()).hexdigest(),
        "disruptive": version.disruptive,
        "key_id": version.key_id,
    }


@transaction.atomic
def script_update(*, script: Script, changes: dict[str, Any], actor: Actor) -> Script:
    """Change the description; a text is changed by a new version."""
    before, after = audit.changed({name: getattr(script, name) for name in changes}, changes)
    if not after:
        return script
    for name, value in after.items():
        setattr(script, name, value)
    script.save(update_fields=list(after))
    audit.record(
        actor=actor,
        organization=script.organization,
        action="script.update",
        target=script,
        before=before,
        after=after,
    )
    return script


@transaction.atomic
def script_withdraw(*, script: Script, actor: Actor, now: datetime, source: str = "api") -> Script:
    """Let no device run the script any more; runs that wait are cancelled.

    A device that holds a run and has not fetched the text does not get it. Withdrawing twice
    changes nothing.
    """
    if Script.objects.filter(pk=script.pk, withdrawn_at=None).update(withdrawn_at=now):
        cancelled = Command.objects.filter(
            organization_id=script.organization_id,
            kind=KIND,
            payload__script=script.name,
            status=Command.Status.QUEUED,
        ).update(
            status=Command.Status.CANCELLED,
            finished_at=now,
            error_code="script_withdrawn",
            error=f"The script {script.name} was withdrawn.",
            held_reason="",
            moved_by=source,
        )
        audit.record(
            actor=actor,
            organization=script.organization,
            action="script.withdraw",
            target=script,
            after={"runs_cancelled": cancelled},
        )
    script.refresh_from_db()
    return script


@transaction.atomic
def template_create(
    *,
    organization: Organization,
    values: dict[str, Any],
    actor: Actor,
    now: datetime,
) -> CommandTemplate:
    """Save a command to use again; `values` are the columns a person fills in.

    Raises NameTaken, and what queueing such a command would raise.
    """
    template = CommandTemplate(
        organization=organization,
        created_at=now,
        created_by=actor.label[: limits.LINE_CHARS],
        **values,
    )
    _template_save(template, force_insert=True)
    audit.record(
        actor=actor,
        organization=organization,
        action="command_template.create",
        target=template,
        after=values,
    )
    return template


@transaction.atomic
def template_update(
    *, template: CommandTemplate, changes: dict[str, Any], actor: Actor
) -> CommandTemplate:
    """Change what was saved; commands made from it stay as they are. Raises as template_create."""
    before, after = audit.changed({name: getattr(template, name) for name in changes}, changes)
    if not after:
        return template
    for name, value in after.items():
        setattr(template, name, value)
    _template_save(template, update_fields=list(after))
    audit.record(
        actor=actor,
        organization=template.organization,
        action="command_template.update",
        target=template,
        before=before,
        after=after,
    )
    return template


def _template_save(template: CommandTemplate, **how: Any) -> None:
    registry.prepared(
        name=template.kind, organization_id=template.organization_id, payload=template.payload
    )
    try:
        with transaction.atomic():
            template.save(**how)
    except IntegrityError:
        raise NameTaken(
            f"There is a template “{template.name}” already. Choose another name."
        ) from None


@transaction.atomic
def template_delete(*, template: CommandTemplate, actor: Actor) -> None:
    """Throw a saved command away; commands made from it stay."""
    audit.record(
        actor=actor,
        organization=template.organization,
        action="command_template.delete",
        target=template,
        before={"name": template.name, "kind": template.kind},
    )
    template.delete()
