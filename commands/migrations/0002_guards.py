"""The life of a command, held by the database; composite tenant keys; the call that wakes a claim."""

from django.db import migrations

from common.tenant_sql import same_tenant, tenant_key

ALLOWED = """
    ('queued', 'delivered'), ('queued', 'cancelled'), ('queued', 'expired'),
    ('delivered', 'running'), ('delivered', 'succeeded'), ('delivered', 'failed'),
    ('delivered', 'rejected'), ('delivered', 'timed_out'), ('delivered', 'queued'),
    ('delivered', 'cancelled'), ('delivered', 'expired'),
    ('running', 'succeeded'), ('running', 'failed'), ('running', 'rejected'),
    ('running', 'timed_out'), ('running', 'cancelled')
"""

LIFE = f"""
CREATE FUNCTION commands_command_life() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF new.status <> old.status AND (old.status, new.status) NOT IN ({ALLOWED}) THEN
        RAISE EXCEPTION 'A command cannot go from % to %.', old.status, new.status
              USING ERRCODE = 'check_violation';
    END IF;
    new.version := old.version + 1;
    RETURN new;
END $$;
CREATE TRIGGER commands_command_life BEFORE UPDATE ON commands_command
   FOR EACH ROW EXECUTE FUNCTION commands_command_life();
"""

WAKE = """
-- Sent on commit: a device that waits for a command hears of it at once.
CREATE FUNCTION commands_command_wake() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('fleet_commands', new.device_id::text);
    RETURN NULL;
END $$;
CREATE TRIGGER commands_command_queued AFTER INSERT ON commands_command
   FOR EACH ROW WHEN (new.status = 'queued') EXECUTE FUNCTION commands_command_wake();
CREATE TRIGGER commands_command_requeued AFTER UPDATE ON commands_command
   FOR EACH ROW WHEN (new.status = 'queued' AND old.status <> 'queued')
   EXECUTE FUNCTION commands_command_wake();
"""


class Migration(migrations.Migration):
    dependencies = [("commands", "0001_initial"), ("devices", "0002_guards")]
    operations = [
        tenant_key("commands_command"),
        same_tenant("commands_command", "device_id", "devices_device", on_delete="CASCADE"),
        same_tenant("commands_supportbundle", "device_id", "devices_device", on_delete="CASCADE"),
        same_tenant(
            "commands_supportbundle", "command_id", "commands_command", on_delete="CASCADE"
        ),
        migrations.RunSQL(
            LIFE + WAKE,
            """
            DROP TRIGGER commands_command_life ON commands_command;
            DROP TRIGGER commands_command_queued ON commands_command;
            DROP TRIGGER commands_command_requeued ON commands_command;
            DROP FUNCTION commands_command_life(); DROP FUNCTION commands_command_wake();
            """,
        ),
    ]
