"""What an organisation keeps to use again: signed scripts, and commands filled in beforehand."""

from django.db import models

from accounts.tenancy import TenantQuerySet
from common import limits
from common.ids import uuid7


class Script(models.Model):
    """A script devices may run, by name; what it is, is in its versions."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    organization = models.ForeignKey("accounts.Organization", models.CASCADE, related_name="+")
    name = models.SlugField(max_length=limits.SHORT_CHARS, db_index=False)
    description = models.CharField(max_length=limits.LINE_CHARS, blank=True)
    # Runs of a withdrawn script are refused.
    withdrawn_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField()

    objects = TenantQuerySet["Script"].as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["organization", "name"],
                name="script_name_unique",
                violation_error_message="A script with this name exists already.",
            ),
        ]

    def __str__(self) -> str:
        return self.name


class ScriptVersion(models.Model):
    """One text of a script, signed when it was stored. Never changed: a change is a new version."""

    class Interpreter(models.TextChoices):
        SH = "sh"
        BASH = "bash"
        PYTHON3 = "python3"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    organization = models.ForeignKey("accounts.Organization", models.CASCADE, related_name="+")
    script = models.ForeignKey(Script, models.CASCADE, related_name="versions")
    number = models.PositiveIntegerField()
    interpreter = models.CharField(max_length=8, choices=Interpreter, default=Interpreter.SH)
    body = models.TextField(max_length=limits.SCRIPT_CHARS)
    # JSON Schema of the arguments: an object of strings, numbers and booleans.
    arguments_schema = models.JSONField(default=dict, blank=True)
    timeout_s = models.PositiveIntegerField(default=limits.SCRIPT_RUN_S)
    output_bytes = models.PositiveIntegerField(default=limits.OUTPUT_TOTAL_CHARS)
    disruptive = models.BooleanField(default=False)
    # Ed25519 over the canonical document (commands.scripts.signed_document), base64.
    signature = models.CharField(max_length=128)
    key_id = models.CharField(max_length=64)
    created_at = models.DateTimeField()
    created_by = models.CharField(max_length=limits.LINE_CHARS, blank=True)

    objects = TenantQuerySet["ScriptVersion"].as_manager()

    class Meta:
        verbose_name = "script version"
        constraints = [
            models.UniqueConstraint(fields=["script", "number"], name="script_version_once"),
        ]

    def __str__(self) -> str:
        return f"{self.script_id} v{self.number}"


class CommandTemplate(models.Model):
    """A command an organisation saved to use again."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    organization = models.ForeignKey("accounts.Organization", models.CASCADE, related_name="+")
    name = models.CharField(max_length=limits.NAME_CHARS)
    description = models.CharField(max_length=limits.LINE_CHARS, blank=True)
    kind = models.CharField("type", max_length=32)
    payload = models.JSONField(default=dict, blank=True)
    options = models.JSONField(default=dict, blank=True)
    created_at = models.DateTimeField()
    created_by = models.CharField(max_length=limits.LINE_CHARS, blank=True)

    objects = TenantQuerySet["CommandTemplate"].as_manager()

    class Meta:
        verbose_name = "command template"
        constraints = [
            models.UniqueConstraint(
                fields=["organization", "name"],
                name="command_template_name_unique",
                violation_error_message="A template with this name exists already.",
            ),
        ]

    def __str__(self) -> str:
        return self.name
