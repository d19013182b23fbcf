"""The life of a command, held by the database; its trail; composite tenant keys; wake-up calls."""

from django.db import migrations

from common.tenant_sql import same_tenant, tenant_key

ALLOWED = """
    ('queued', 'delivered'), ('queued', 'cancelled'), ('queued', 'expired'),
    ('delivered', 'running'), ('delivered', 'succeeded'), ('delivered', 'failed'),
    ('delivered', 'rejected'), ('delivered', 'timed_out'), ('delivered', 'queued'),
    ('delivered', 'cancelled'), ('delivered', 'expired'),
    ('running', 'succeeded'), ('running', 'failed'), ('running', 'rejected'),
    ('running', 'timed_out'), ('running', 'queued'), ('running', 'cancelled')
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

# Whoever moves a command, by whichever statement: the trail and the attempts are complete. Their
# writer is the tables' owner, so nobody else needs a right to write there.
TRAIL = """
CREATE FUNCTION commands_command_trail() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE before text := '';
BEGIN
    IF tg_op = 'UPDATE' THEN
        before := old.status;
        IF before IN ('delivered', 'running') AND new.status <> 'running' THEN
            UPDATE commands_commandattempt SET
                   finished_at = now(),
                   outcome = CASE WHEN new.status <> 'queued' THEN new.status
                                  WHEN new.failure_class = '' THEN 'lost'
                                  WHEN new.failure_class = 'timeout' THEN 'timed_out'
                                  ELSE 'failed' END,
                   failure_class = new.failure_class, error_code = new.error_code,
                   error = new.error, result = new.result
             WHERE command_id = new.id AND number = old.attempt;
        ELSIF new.status = 'delivered' THEN
            INSERT INTO commands_commandattempt (
                   organization_id, command_id, number, delivered_at, outcome, failure_class,
                   error_code, error)
            VALUES (new.organization_id, new.id, new.attempt, now(), '', '', '', '');
        ELSIF new.status = 'running' THEN
            UPDATE commands_commandattempt SET started_at = new.started_at
             WHERE command_id = new.id AND number = new.attempt;
        END IF;
    END IF;
    INSERT INTO commands_commandevent (
           organization_id, command_id, at, source, from_status, to_status, attempt, code, detail)
    VALUES (new.organization_id, new.id, clock_timestamp(), new.moved_by, before, new.status,
            new.attempt, new.error_code, left(new.error, 255));
    RETURN NULL;
END $$;
CREATE TRIGGER commands_command_made AFTER INSERT ON commands_command
   FOR EACH ROW EXECUTE FUNCTION commands_command_trail();
CREATE TRIGGER commands_command_moved AFTER UPDATE ON commands_command
   FOR EACH ROW WHEN (new.status <> old.status) EXECUTE FUNCTION commands_command_trail();

CREATE FUNCTION commands_commandevent_kept() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'The trail of a command is append-only.' USING ERRCODE = 'check_violation';
END $$;
CREATE TRIGGER commands_commandevent_kept BEFORE UPDATE ON commands_commandevent
   FOR EACH ROW EXECUTE FUNCTION commands_commandevent_kept();
"""

WAKE = """
-- Sent on commit, read by the gateways: "<device> queued" when there may be something to claim,
-- "<device> cancel <command>" when the device should stop one.
CREATE FUNCTION commands_command_wake() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('fleet_commands', new.device_id::text || ' queued');
    RETURN NULL;
END $$;
CREATE TRIGGER commands_command_queued AFTER INSERT ON commands_command
   FOR EACH ROW WHEN (new.status = 'queued' AND new.not_before IS NULL)
   EXECUTE FUNCTION commands_command_wake();
-- Put back, released, or something ended that held others up.
CREATE TRIGGER commands_command_claimable AFTER UPDATE ON commands_command
   FOR EACH ROW WHEN (
       (new.status = 'queued' AND old.status <> 'queued')
       OR (new.status = 'queued' AND new.held_reason = '' AND old.held_reason <> '')
       OR (old.disruptive AND old.status IN ('delivered', 'running')
           AND new.status NOT IN ('delivered', 'running')))
   EXECUTE FUNCTION commands_command_wake();

CREATE FUNCTION commands_command_stop() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('fleet_commands', new.device_id::text || ' cancel ' || new.id::text);
    RETURN NULL;
END $$;
CREATE TRIGGER commands_command_stop AFTER UPDATE ON commands_command
   FOR EACH ROW WHEN (new.cancel_requested_at IS NOT NULL AND old.cancel_requested_at IS NULL
                      AND new.status IN ('delivered', 'running'))
   EXECUTE FUNCTION commands_command_stop();
"""

_TRIGGERS = {
    "commands_command": [
        *("commands_command_life", "commands_command_made", "commands_command_moved"),
        *("commands_command_queued", "commands_command_claimable", "commands_command_stop"),
    ],
    "commands_commandevent": ["commands_commandevent_kept"],
}
_FUNCTIONS = [
    *("commands_command_life", "commands_command_trail", "commands_commandevent_kept"),
    *("commands_command_wake", "commands_command_stop"),
]
UNDO = "\n".join(
    [f"DROP TRIGGER {name} ON {table};" for table, names in _TRIGGERS.items() for name in names]
    + [f"DROP FUNCTION {name}();" for name in _FUNCTIONS]
)

_OF_DEVICE = ["command", "commandlane", "supportbundle", "batchtarget"]
_OF_COMMAND = ["commandattempt", "commandevent", "outputchunk", "supportbundle"]


class Migration(migrations.Migration):
    dependencies = [("commands", "0001_initial"), ("devices", "0002_guards")]
    operations = [
        *[tenant_key(f"commands_{name}") for name in ("command", "commandbatch", "script")],
        *[
            same_tenant(f"commands_{name}", "device_id", "devices_device", on_delete="CASCADE")
            for name in _OF_DEVICE
        ],
        *[
            same_tenant(f"commands_{name}", "command_id", "commands_command", on_delete="CASCADE")
            for name in _OF_COMMAND
        ],
        same_tenant(
            "commands_batchtarget", "batch_id", "commands_commandbatch", on_delete="CASCADE"
        ),
        same_tenant("commands_batchtarget", "command_id", "commands_command"),
        same_tenant("commands_command", "batch_id", "commands_commandbatch"),
        same_tenant("commands_command", "retry_of_id", "commands_command"),
        same_tenant("commands_commandbatch", "retry_of_id", "commands_commandbatch"),
        same_tenant("commands_scriptversion", "script_id", "commands_script", on_delete="CASCADE"),
        migrations.RunSQL(LIFE + TRAIL + WAKE, UNDO),
    ]
