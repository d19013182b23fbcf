"""A database role for the gateway that may do what its statements do, and nothing else.

Roles belong to the cluster, not to the database: several databases may be migrated at once, and
the role outlives each of them. Where the role cannot be made, the gateway works without it.
"""

from django.db import migrations

ROLE = "fleet_gateway"

MAKE_ROLE = f"""
DO $$
DECLARE attempt integer := 0; member text := 'MEMBER';
BEGIN
    IF current_setting('server_version_num')::integer >= 160000 THEN
        member := 'SET';
    END IF;
    LOOP
        BEGIN
            IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{ROLE}') THEN
                CREATE ROLE {ROLE} NOLOGIN NOINHERIT;
            END IF;
            IF NOT pg_has_role(current_user, '{ROLE}', member) THEN
                IF member = 'SET' THEN
                    EXECUTE format('GRANT {ROLE} TO %I WITH INHERIT FALSE, SET TRUE', current_user);
                ELSE
                    EXECUTE format('GRANT {ROLE} TO %I', current_user);
                END IF;
            END IF;
            EXIT;
        EXCEPTION
            WHEN duplicate_object OR unique_violation OR internal_error OR undefined_object THEN
                -- Another database of the cluster is being migrated at the same moment.
                attempt := attempt + 1;
                IF attempt > 50 THEN RAISE; END IF;
                PERFORM pg_sleep(0.02);
            WHEN insufficient_privilege THEN
                RAISE NOTICE 'The role {ROLE} could not be made or granted: %. The gateway will work'
                    ' with the rights of the application. To change that, let an administrator run:'
                    ' CREATE ROLE {ROLE}; GRANT {ROLE} TO %; and then run at once: manage.py migrate gateway'
                    ' zero; manage.py migrate', SQLERRM, current_user;
                EXIT;
        END;
    END LOOP;
END $$;
"""

GRANTS = {
    "accounts_organization": "SELECT (id, is_active, heartbeat_interval_s)",
    "accounts_apikey": (
        "SELECT (id, organization_id, role, sha256, expires_at, revoked_at, last_used_at),"
        " UPDATE (last_used_at)"
    ),
    "devices_device": (
        "SELECT (id, organization_id, device_id, lifecycle, heartbeat_interval_s, target_version,"
        " status_override, status_override_until)"
    ),
    "devices_devicetoken": (
        "SELECT (id, organization_id, device_id, sha256, created_at, confirmed_at, expires_at,"
        " revoked_at), UPDATE (confirmed_at, expires_at, revoked_at)"
    ),
    "devices_devicestate": "SELECT, INSERT, UPDATE",
    "devices_heartbeat": "INSERT",
    "devices_deviceevent": "INSERT",
    "devices_servicepulse": "SELECT, INSERT, UPDATE",
    "commands_command": (
        "SELECT (id, device_id, kind, payload, sequence, priority, disruptive, status, attempt,"
        " expires_at, not_before, held_reason, lease_expires_at, run_timeout_s,"
        " cancel_requested_at, expect_version, expect_state, on_mismatch, protocol),"
        " UPDATE (status, moved_by, attempt, delivered_at, lease_expires_at, finished_at, result,"
        " failure_class, error_code, error, output)"
    ),
    "releases_deviceupdate": "SELECT (id, device_id, status, to_version, kind, is_paused)",
}
_GRANT = "\n".join(f"    GRANT {rights} ON {table} TO {ROLE};" for table, rights in GRANTS.items())
_REVOKE = "\n".join(f"    REVOKE ALL ON {table} FROM {ROLE};" for table in GRANTS)


def if_role_exists(statements: str) -> str:
    return f"""
DO $$ BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = '{ROLE}') THEN
{statements}
    END IF;
END $$;
"""


class Migration(migrations.Migration):
    initial = True
    dependencies = [
        ("accounts", "0001_initial"),
        ("devices", "0002_guards"),
        ("commands", "0002_guards"),
        ("releases", "0002_guards"),
    ]
    operations = [
        migrations.RunSQL(MAKE_ROLE, migrations.RunSQL.noop),
        migrations.RunSQL(if_role_exists(_GRANT), if_role_exists(_REVOKE)),
    ]
