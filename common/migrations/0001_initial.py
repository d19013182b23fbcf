from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="IdempotencyKey",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("organization_id", models.UUIDField()),
                ("key_sha256", models.BinaryField(max_length=32)),
                ("request_sha256", models.BinaryField(max_length=32)),
                ("status", models.PositiveSmallIntegerField(null=True)),
                ("answer", models.BinaryField(null=True)),
                ("created_at", models.DateTimeField()),
            ],
            options={
                "verbose_name": "idempotency key",
                "indexes": [models.Index(fields=["created_at"], name="idempotency_created")],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("organization_id", "key_sha256"), name="idempotency_key_once"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("answer__isnull", True), ("status__isnull", True)),
                            models.Q(("answer__isnull", False), ("status__range", (200, 499))),
                            _connector="OR",
                        ),
                        name="idempotency_answer_whole",
                    ),
                ],
            },
        ),
    ]
