import django.db.models.deletion
from django.db import migrations, models

import common.ids


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        ("accounts", "0001_initial"),
        ("devices", "0001_initial"),
    ]

    operations = [
        migrations.CreateModel(
            name="CommandBatch",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=common.ids.uuid7, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("name", models.CharField(max_length=120)),
                (
                    "origin",
                    models.CharField(
                        choices=[("console", "Console"), ("api", "Api"), ("push", "Push")],
                        default="api",
                        max_length=8,
                    ),
                ),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("draft", "Draft"),
                            ("awaiting_approval", "awaiting approval"),
                            ("scheduled", "Scheduled"),
                            ("running", "Running"),
                            ("paused", "Paused"),
                            ("completed", "Completed"),
                            ("aborted", "Aborted"),
                            ("cancelled", "Cancelled"),
                        ],
                        default="draft",
                        max_length=24,
                    ),
                ),
                ("kind", models.CharField(blank=True, max_length=32, verbose_name="type")),
                ("payload", models.JSONField(blank=True, default=dict)),
                ("options", models.JSONField(blank=True, default=dict)),
                ("selection", models.JSONField(blank=True, default=dict)),
                ("unmatched", models.JSONField(blank=True, default=list)),
                ("wave_sizes", models.JSONField(blank=True, default=list)),
                ("waves", models.JSONField(blank=True, default=list)),
                ("wave_pause_s", models.PositiveIntegerField(default=0)),
                ("abort_rules", models.JSONField(blank=True, default=list)),
                ("start_at", models.DateTimeField(blank=True, null=True)),
                ("end_at", models.DateTimeField(blank=True, null=True)),
                (
                    "end_behavior",
                    models.CharField(
                        choices=[
                            ("stop", "start no more, let the rest finish"),
                            ("cancel", "cancel what waits"),
                            ("force_cancel", "cancel everything"),
                        ],
                        default="stop",
                        max_length=16,
                    ),
                ),
                ("window", models.JSONField(blank=True, null=True)),
                ("wave", models.IntegerField(default=-1)),
                ("next_wave_at", models.DateTimeField(blank=True, null=True)),
                ("approval_needed", models.BooleanField(default=False)),
                ("approved_at", models.DateTimeField(blank=True, null=True)),
                ("approved_by", models.CharField(blank=True, max_length=255)),
                ("creator_id", models.UUIDField(editable=False, null=True)),
                ("created_by", models.CharField(blank=True, max_length=255)),
                ("created_at", models.DateTimeField()),
                ("started_at", models.DateTimeField(blank=True, null=True)),
                ("finished_at", models.DateTimeField(blank=True, null=True)),
                (
                    "cancelling",
                    models.CharField(
                        blank=True,
                        choices=[("waiting", "Waiting"), ("all", "All")],
                        editable=False,
                        max_length=8,
                    ),
                ),
                ("reason", models.CharField(blank=True, max_length=255)),
                (
                    "organization",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="accounts.organization",
                    ),
                ),
                (
                    "retry_of",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to="commands.commandbatch",
                    ),
                ),
            ],
            options={
                "verbose_name": "command batch",
                "verbose_name_plural": "command batches",
            },
        ),
        migrations.CreateModel(
            name="Command",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=common.ids.uuid7, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("kind", models.CharField(max_length=32, verbose_name="type")),
                ("payload", models.JSONField(blank=True, default=dict)),
                ("sequence", models.BigIntegerField(default=0, editable=False)),
                ("priority", models.SmallIntegerField(default=0)),
                ("disruptive", models.BooleanField(default=False)),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("queued", "Queued"),
                            ("delivered", "Delivered"),
                            ("running", "Running"),
                            ("succeeded", "Succeeded"),
                            ("failed", "Failed"),
                            ("rejected", "Rejected"),
                            ("timed_out", "timed out"),
                            ("expired", "Expired"),
                            ("cancelled", "Cancelled"),
                        ],
                        default="queued",
                        max_length=16,
                    ),
                ),
                ("moved_by", models.CharField(default="api", editable=False, max_length=16)),
                ("attempt", models.PositiveIntegerField(default=0)),
                ("version", models.PositiveIntegerField(default=1)),
                ("created_at", models.DateTimeField()),
                ("created_by", models.CharField(blank=True, max_length=255)),
                ("expires_at", models.DateTimeField()),
                ("not_before", models.DateTimeField(blank=True, null=True)),
                ("held_reason", models.CharField(blank=True, max_length=255)),
                ("lease_expires_at", models.DateTimeField(blank=True, null=True)),
                ("delivered_at", models.DateTimeField(blank=True, null=True)),
                ("started_at", models.DateTimeField(blank=True, null=True)),
                ("finished_at", models.DateTimeField(blank=True, null=True)),
                ("run_timeout_s", models.PositiveIntegerField(default=7200)),
                ("run_deadline", models.DateTimeField(blank=True, null=True)),
                ("step_deadline", models.DateTimeField(blank=True, null=True)),
                ("retries", models.JSONField(blank=True, default=dict)),
                ("retry_backoff_s", models.PositiveIntegerField(default=30)),
                ("cancel_requested_at", models.DateTimeField(blank=True, null=True)),
                ("cancel_deadline", models.DateTimeField(blank=True, null=True)),
                ("expect_version", models.CharField(blank=True, max_length=64)),
                (
                    "expect_state",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("unknown", "Unknown"),
                            ("healthy", "Healthy"),
                            ("degraded", "Degraded"),
                            ("failed", "Failed"),
                            ("offline", "Offline"),
                        ],
                        max_length=16,
                    ),
                ),
                (
                    "on_mismatch",
                    models.CharField(
                        choices=[("drop", "end it as stale"), ("wait", "wait until it holds")],
                        default="drop",
                        max_length=8,
                    ),
                ),
                (
                    "reconnect",
                    models.CharField(
                        choices=[
                            ("run", "run it all the same"),
                            ("drop", "drop it"),
                            ("ask", "hold it and ask"),
                        ],
                        default="run",
                        max_length=8,
                    ),
                ),
                ("reconnect_after_s", models.PositiveIntegerField(default=86400)),
                ("protocol", models.CharField(default="agent", max_length=16)),
                ("codec", models.CharField(blank=True, max_length=64)),
                ("metadata", models.JSONField(blank=True, default=dict)),
                ("qos", models.PositiveSmallIntegerField(blank=True, null=True)),
                ("retain", models.BooleanField(default=False)),
                ("confirmable", models.BooleanField(default=True)),
                ("result", models.JSONField(blank=True, null=True)),
                (
                    "failure_class",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("network", "Network"),
                            ("timeout", "Timeout"),
                            ("failed", "Failed"),
                            ("rejected", "Rejected"),
                        ],
                        max_length=16,
                    ),
                ),
                ("error_code", models.CharField(blank=True, max_length=64)),
                ("error", models.TextField(blank=True)),
                ("output", models.TextField(blank=True)),
                (
                    "device",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="commands",
                        to="devices.device",
                    ),
                ),
                (
                    "organization",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="accounts.organization",
                    ),
                ),
                (
                    "retry_of",
                    models.ForeignKey(
                        blank=True,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to="commands.command",
                    ),
                ),
                (
                    "batch",
                    models.ForeignKey(
                        blank=True,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="commands",
                        to="commands.commandbatch",
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="BatchTarget",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("wave", models.PositiveIntegerField(null=True)),
                ("skipped", models.CharField(blank=True, max_length=255)),
                (
                    "device",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="devices.device",
                    ),
                ),
                (
                    "organization",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="accounts.organization",
                    ),
                ),
                (
                    "command",
                    models.OneToOneField(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="target",
                        to="commands.command",
                    ),
                ),
                (
                    "batch",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="targets",
                        to="commands.commandbatch",
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="CommandEvent",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("at", models.DateTimeField()),
                ("source", models.CharField(max_length=16)),
                ("from_status", models.CharField(blank=True, max_length=16)),
                ("to_status", models.CharField(max_length=16)),
                ("attempt", models.PositiveIntegerField()),
                ("code", models.CharField(blank=True, max_length=64)),
                ("detail", models.CharField(blank=True, max_length=255)),
                (
                    "command",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="events",
                        to="commands.command",
                    ),
                ),
                (
                    "organization",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="accounts.organization",
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="CommandLane",
            fields=[
                (
                    "device",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="+",
                        serialize=False,
                        to="devices.device",
                    ),
                ),
                ("sequence", models.BigIntegerField(default=0)),
                (
                    "organization",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="accounts.organization",
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="CommandTemplate",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=common.ids.uuid7, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("name", models.CharField(max_length=120)),
                ("description", models.CharField(blank=True, max_length=255)),
                ("kind", models.CharField(max_length=32, verbose_name="type")),
                ("payload", models.JSONField(blank=True, default=dict)),
                ("options", models.JSONField(blank=True, default=dict)),
                ("created_at", models.DateTimeField()),
                ("created_by", models.CharField(blank=True, max_length=255)),
                (
                    "organization",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="accounts.organization",
                    ),
                ),
            ],
            options={
                "verbose_name": "command template",
            },
        ),
        migrations.CreateModel(
            name="OutputChunk",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("attempt", models.PositiveIntegerField()),
                ("index", models.PositiveIntegerField()),
                ("text", models.TextField()),
                ("end", models.PositiveIntegerField()),
                ("at", models.DateTimeField()),
                (
                    "command",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="chunks",
                        to="commands.command",
                    ),
                ),
                (
                    "organization",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="accounts.organization",
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="Script",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=common.ids.uuid7, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("name", models.SlugField(db_index=False, max_length=64)),
                ("description", models.CharField(blank=True, max_length=255)),
                ("withdrawn_at", models.DateTimeField(blank=True, null=True)),
                ("created_at", models.DateTimeField()),
                (
                    "organization",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="accounts.organization",
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="ScriptVersion",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=common.ids.uuid7, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("number", models.PositiveIntegerField()),
                (
                    "interpreter",
                    models.CharField(
                        choices=[("sh", "Sh"), ("bash", "Bash"), ("python3", "Python3")],
                        default="sh",
                        max_length=8,
                    ),
                ),
                ("body", models.TextField(max_length=65536)),
                ("arguments_schema", models.JSONField(blank=True, default=dict)),
                ("timeout_s", models.PositiveIntegerField(default=300)),
                ("output_bytes", models.PositiveIntegerField(default=1048576)),
                ("disruptive", models.BooleanField(default=False)),
                ("signature", models.CharField(max_length=128)),
                ("key_id", models.CharField(max_length=64)),
                ("created_at", models.DateTimeField()),
                ("created_by", models.CharField(blank=True, max_length=255)),
                (
                    "organization",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="accounts.organization",
                    ),
                ),
                (
                    "script",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="versions",
                        to="commands.script",
                    ),
                ),
            ],
            options={
                "verbose_name": "script version",
            },
        ),
        migrations.CreateModel(
            name="SupportBundle",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=common.ids.uuid7, editable=False, primary_key=True, serialize=False
                    ),
                ),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("uploading", "Uploading"),
                            ("quarantined", "Quarantined"),
                            ("processing", "Processing"),
                            ("ready", "Ready"),
                            ("refused", "Refused"),
                        ],
                        default="uploading",
                        max_length=16,
                    ),
                ),
                ("quarantine", models.FileField(blank=True, upload_to="quarantine/%Y/%m/%d")),
                ("file", models.FileField(blank=True, upload_to="bundles/%Y/%m/%d")),
                ("size", models.BigIntegerField()),
                ("received", models.BigIntegerField(default=0)),
                ("sha256", models.CharField(max_length=64)),
                ("kept_size", models.BigIntegerField(default=0)),
                ("manifest", models.JSONField(blank=True, default=list)),
                ("redactions", models.JSONField(blank=True, default=list)),
                ("findings", models.JSONField(blank=True, default=list)),
                ("error", models.CharField(blank=True, max_length=255)),
                ("device_health", models.CharField(blank=True, max_length=16)),
                ("created_at", models.DateTimeField()),
                ("processed_at", models.DateTimeField(blank=True, null=True)),
                ("tries", models.PositiveSmallIntegerField(default=0)),
                ("processing_since", models.DateTimeField(blank=True, null=True)),
                ("expires_at", models.DateTimeField()),
                (
                    "command",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="bundle",
                        to="commands.command",
                    ),
                ),
                (
                    "device",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="bundles",
                        to="devices.device",
                    ),
                ),
                (
                    "organization",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="accounts.organization",
                    ),
                ),
            ],
            options={
                "verbose_name": "support bundle",
            },
        ),
        migrations.CreateModel(
            name="CommandAttempt",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("number", models.PositiveIntegerField()),
                ("delivered_at", models.DateTimeField()),
                ("started_at", models.DateTimeField(null=True)),
                ("finished_at", models.DateTimeField(null=True)),
                (
                    "outcome",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("lost", "no sign of life"),
                            ("succeeded", "Succeeded"),
                            ("failed", "Failed"),
                            ("rejected", "Rejected"),
                            ("timed_out", "timed out"),
                            ("expired", "Expired"),
                            ("cancelled", "Cancelled"),
                        ],
                        max_length=16,
                    ),
                ),
                ("failure_class", models.CharField(blank=True, max_length=16)),
                ("error_code", models.CharField(blank=True, max_length=64)),
                ("error", models.TextField(blank=True)),
                ("result", models.JSONField(null=True)),
                (
                    "command",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="attempts",
                        to="commands.command",
                    ),
                ),
                (
                    "organization",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="accounts.organization",
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(fields=("command", "number"), name="attempt_once")
                ],
            },
        ),
        migrations.AddIndex(
            model_name="commandbatch",
            index=models.Index(fields=["organization", "-id"], name="batch_recent"),
        ),
        migrations.AddIndex(
            model_name="commandbatch",
            index=models.Index(
                condition=models.Q(
                    ("status__in", ["scheduled", "running", "paused"]),
                    models.Q(("cancelling", ""), _negated=True),
                    _connector="OR",
                ),
                fields=["id"],
                name="batch_moving",
            ),
        ),
        migrations.AddConstraint(
            model_name="commandbatch",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("finished_at__isnull", False),
                        ("status__in", ["completed", "aborted", "cancelled"]),
                    ),
                    models.Q(
                        ("finished_at__isnull", True),
                        (
                            "status__in",
                            ["draft", "awaiting_approval", "scheduled", "running", "paused"],
                        ),
                    ),
                    _connector="OR",
                ),
                name="batch_ended_has_time",
            ),
        ),
        migrations.AddIndex(
            model_name="command",
            index=models.Index(
                condition=models.Q(("status__in", ["queued", "delivered", "running"])),
                fields=["device", "-priority", "sequence"],
                name="command_open_of_device",
            ),
        ),
        migrations.AddIndex(
            model_name="command",
            index=models.Index(
                condition=models.Q(("status__in", ["queued", "delivered"])),
                fields=["expires_at"],
                name="command_due",
            ),
        ),
        migrations.AddIndex(
            model_name="command",
            index=models.Index(fields=["organization", "-id"], name="command_recent"),
        ),
        migrations.AddIndex(
            model_name="command",
            index=models.Index(fields=["device", "-id"], name="command_recent_of_device"),
        ),
        migrations.AddIndex(
            model_name="command",
            index=models.Index(
                condition=models.Q(("status__in", ["delivered", "running"])),
                fields=["id"],
                name="command_in_flight",
            ),
        ),
        migrations.AddIndex(
            model_name="command",
            index=models.Index(
                condition=models.Q(("retry_of__isnull", False)),
                fields=["retry_of"],
                name="command_repeated",
            ),
        ),
        migrations.AddIndex(
            model_name="command",
            index=models.Index(
                condition=models.Q(("batch__isnull", False)),
                fields=["batch", "status"],
                name="command_of_batch",
            ),
        ),
        migrations.AddConstraint(
            model_name="command",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("finished_at__isnull", True),
                        ("status__in", ["queued", "delivered", "running"]),
                    ),
                    models.Q(
                        ("finished_at__isnull", False),
                        (
                            "status__in",
                            [
                                "succeeded",
                                "failed",
                                "rejected",
                                "timed_out",
                                "expired",
                                "cancelled",
                            ],
                        ),
                    ),
                    _connector="OR",
                ),
                name="command_ended_has_time",
            ),
        ),
        migrations.AddConstraint(
            model_name="command",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("status", "delivered"), _negated=True),
                    ("lease_expires_at__isnull", False),
                    _connector="OR",
                ),
                name="command_delivered_has_lease",
            ),
        ),
        migrations.AddConstraint(
            model_name="command",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("status", "running"), _negated=True),
                    ("run_deadline__isnull", False),
                    _connector="OR",
                ),
                name="command_running_has_deadline",
            ),
        ),
        migrations.AddConstraint(
            model_name="command",
            constraint=models.UniqueConstraint(
                condition=models.Q(("disruptive", True), ("status__in", ["delivered", "running"])),
                fields=("device",),
                name="command_one_disruptive",
            ),
        ),
        migrations.AddConstraint(
            model_name="command",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("status", "queued"), _negated=True),
                    ("cancel_requested_at__isnull", True),
                    _connector="OR",
                ),
                name="command_queued_is_not_stopping",
            ),
        ),
        migrations.AddIndex(
            model_name="batchtarget",
            index=models.Index(
                condition=models.Q(("command__isnull", True), ("skipped", "")),
                fields=["batch", "wave", "id"],
                name="batch_target_waiting",
            ),
        ),
        migrations.AddConstraint(
            model_name="batchtarget",
            constraint=models.UniqueConstraint(
                fields=("batch", "device"), name="batch_target_once"
            ),
        ),
        migrations.AddIndex(
            model_name="commandevent",
            index=models.Index(fields=["command", "id"], name="command_event_line"),
        ),
        migrations.AddConstraint(
            model_name="commandtemplate",
            constraint=models.UniqueConstraint(
                fields=("organization", "name"),
                name="command_template_name_unique",
                violation_error_message="A template with this name exists already.",
            ),
        ),
        migrations.AddConstraint(
            model_name="outputchunk",
            constraint=models.UniqueConstraint(
                fields=("command", "attempt", "index"), name="output_chunk_once"
            ),
        ),
        migrations.AddConstraint(
            model_name="script",
            constraint=models.UniqueConstraint(
                fields=("organization", "name"),
                name="script_name_unique",
                violation_error_message="A script with this name exists already.",
            ),
        ),
        migrations.AddConstraint(
            model_name="scriptversion",
            constraint=models.UniqueConstraint(
                fields=("script", "number"), name="script_version_once"
            ),
        ),
        migrations.AddIndex(
            model_name="supportbundle",
            index=models.Index(
                condition=models.Q(("status__in", ["quarantined", "processing"])),
                fields=["id"],
                name="bundle_to_process",
            ),
        ),
        migrations.AddIndex(
            model_name="supportbundle",
            index=models.Index(fields=["expires_at"], name="bundle_expiry"),
        ),
    ]
