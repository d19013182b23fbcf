"""The gathered statement of heartbeats with nothing unusual: most of them, for less.

What PostgreSQL pays for a statement before the first row grows with what the statement could do.
This one can store the next heartbeat of a boot from a device that is known, in service, not
locked, and as well as before; of such a heartbeat it makes what `statements.HEARTBEATS` makes.
Whatever is not in its answer is untouched and has to go through the other one. So has all of a
statement that fails: here two heartbeats that are the same are an error.
"""

from gateway.claim_statements import worth_claiming
from gateway.statements import (
    ARRAYS,
    HISTORY,
    MOMENT,
    NAMES,
    PENDING,
    PICKED,
    RETIRED,
    SERVER_TIME,
    TYPES,
)

_VERSION_NOW = "CASE WHEN w.version <> '' THEN w.version ELSE w.old_version END"

# The caller sees to it that a row has a token, a boot, a sequence and a moment, was sent at once,
# and is the only one of its device.
PLAIN_HEARTBEATS = f"""
PREPARE plain_heartbeats (text[], {TYPES}) AS
WITH held AS MATERIALIZED (
    -- Joined like this it begins with what was sent and ends with the state, whatever the planner
    -- knows of the tables: over empty ones every order looks good to it.
    SELECT r.i::integer AS i, d.id AS device, d.organization_id, s.version AS old_version,
           coalesce(d.heartbeat_interval_s, o.heartbeat_interval_s) AS interval_s,
           d.target_version, {MOMENT} AS at, r.health, r.boot_id, r.version, r.agent_version,
           r.commit, r.metrics, r.status, r.errors
      FROM unnest({ARRAYS}) WITH ORDINALITY AS r ({NAMES}, i)
      LEFT JOIN devices_devicetoken t
             ON t.sha256 = r.token AND t.revoked_at IS NULL AND t.confirmed_at IS NOT NULL
            AND (t.expires_at IS NULL OR t.expires_at > now())
      LEFT JOIN accounts_organization o ON o.id = t.organization_id AND o.is_active
      LEFT JOIN devices_device d
             ON d.id = t.device_id AND d.status_override = ''
            AND d.lifecycle NOT IN ('{PENDING}', '{RETIRED}')
     CROSS JOIN LATERAL (
           SELECT s.version FROM devices_devicestate s
            WHERE s.device_id = d.id AND o.id IS NOT NULL AND d.device_id = r.wanted
              AND s.boot_id = r.boot_id AND s.sequence < {PICKED["sequence"]}
              AND s.health = r.health AND s.health_since IS NOT NULL AND s.at IS NOT NULL
              FOR NO KEY UPDATE SKIP LOCKED) s
), stored AS (
    {HISTORY}
    SELECT device, organization_id, at, now(), boot_id, {PICKED["sequence"]}, health, version,
           commit, {PICKED["uptime_seconds"]}, {PICKED["cpu_percent"]}, {PICKED["mem_percent"]},
           {PICKED["disk_percent"]}, {PICKED["disk_free_gb"]}, {PICKED["temperature_c"]},
           {PICKED["containers_running"]}, {PICKED["containers_failed"]}, metrics, status, errors
      FROM held
), moved AS (
    UPDATE devices_devicestate s SET
           last_seen = greatest(s.last_seen, now()),
           at = w.at,
           sequence = {PICKED["sequence"]},
           skew_ms = (extract(epoch FROM {PICKED["ts"]} - now()) * 1000)::bigint,
           version = CASE WHEN w.version <> '' THEN w.version ELSE s.version END,
           agent_version = CASE WHEN w.agent_version <> '' THEN w.agent_version
                                ELSE s.agent_version END,
           commit = CASE WHEN w.commit <> '' THEN w.commit ELSE s.commit END,
           last_convergence = coalesce({PICKED["last_convergence"]}, s.last_convergence),
           uptime_seconds = {PICKED["uptime_seconds"]},
           cpu_percent = {PICKED["cpu_percent"]},
           mem_percent = {PICKED["mem_percent"]},
           disk_percent = {PICKED["disk_percent"]},
           disk_free_gb = {PICKED["disk_free_gb"]},
           temperature_c = {PICKED["temperature_c"]},
           containers_running = {PICKED["containers_running"]},
           containers_failed = {PICKED["containers_failed"]},
           metrics = coalesce(w.metrics, '{{}}'),
           status = coalesce(w.status, '{{}}'),
           errors = coalesce(w.errors, '[]')
      FROM held w WHERE s.device_id = w.device
)
SELECT 200, (SELECT count(*) FROM commands_command c
              WHERE c.device_id = w.device
                AND {worth_claiming(_VERSION_NOW, "w.health")})::integer,
       target_version, interval_s, array_agg(i), NULL::uuid, NULL::uuid, {SERVER_TIME}
  FROM held w
 GROUP BY 2, 3, 4
"""  # noqa: S608 - only constants are put in
