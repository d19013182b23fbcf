"""What Django has no words for: composite tenant keys, the hot row's storage, heartbeat partitions."""

from django.db import migrations

from common.tenant_sql import same_tenant, tenant_key

STORAGE = """
-- Every heartbeat updates this row: room in the page keeps those updates heap-only.
ALTER TABLE devices_devicestate SET (
    fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);
"""

HEARTBEATS = """
CREATE TABLE devices_heartbeat (
    device_id uuid NOT NULL,
    organization_id uuid NOT NULL,
    at timestamptz NOT NULL,
    received_at timestamptz NOT NULL,
    boot_id text NOT NULL DEFAULT '',
    sequence bigint NOT NULL DEFAULT 0,
    health varchar(16) NOT NULL,
    version varchar(64) NOT NULL DEFAULT '',
    commit varchar(64) NOT NULL DEFAULT '',
    uptime_seconds bigint,
    cpu_percent double precision,
    mem_percent double precision,
    disk_percent double precision,
    disk_free_gb double precision,
    temperature_c double precision,
    containers_running integer,
    containers_failed integer,
    metrics jsonb,
    status jsonb,
    errors jsonb,
    PRIMARY KEY (device_id, at, boot_id, sequence)
) PARTITION BY RANGE (at);

-- Makes the partitions of `days` days from `first` on; the ones that exist stay as they are.
-- The gateway may call it without holding the right to make tables.
CREATE FUNCTION devices_heartbeat_partitions(first date, days integer) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE day date; name text; made integer := 0;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('devices_heartbeat_partitions'));
    FOR day IN SELECT generate_series(first, first + days - 1, interval '1 day')::date LOOP
        name := 'devices_heartbeat_' || to_char(day, 'YYYYMMDD');
        IF to_regclass(name) IS NULL THEN
            EXECUTE format(
                'CREATE TABLE %I PARTITION OF devices_heartbeat FOR VALUES FROM (%L) TO (%L)',
                name, day::text || ' 00:00:00+00', (day + 1)::text || ' 00:00:00+00');
            made := made + 1;
        END IF;
    END LOOP;
    RETURN made;
END $$;
SELECT devices_heartbeat_partitions((now() AT TIME ZONE 'UTC')::date - 2, 12);
"""

OPERATIONS = [
    tenant_key("devices_device"),
    tenant_key("devices_devicegroup"),
    same_tenant("devices_groupmember", "device_id", "devices_device", on_delete="CASCADE"),
    same_tenant("devices_groupmember", "group_id", "devices_devicegroup", on_delete="CASCADE"),
    same_tenant("devices_enrollmenttoken", "group_id", "devices_devicegroup"),
    same_tenant("devices_devicetoken", "device_id", "devices_device", on_delete="CASCADE"),
    same_tenant("devices_devicestate", "device_id", "devices_device", on_delete="CASCADE"),
    same_tenant("devices_deviceevent", "device_id", "devices_device", on_delete="CASCADE"),
    same_tenant("devices_driftreport", "device_id", "devices_device", on_delete="CASCADE"),
    same_tenant("devices_devicerecovery", "device_id", "devices_device", on_delete="CASCADE"),
    migrations.RunSQL(STORAGE, migrations.RunSQL.noop),
    migrations.RunSQL(
        HEARTBEATS,
        "DROP TABLE devices_heartbeat; DROP FUNCTION devices_heartbeat_partitions(date, integer);",
    ),
]


class Migration(migrations.Migration):
    dependencies = [("devices", "0001_initial")]
    operations = OPERATIONS
