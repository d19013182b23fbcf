"""The SQL of the gateway. It runs as a database role that may do just this (migration 0001)."""

from accounts.policy import POLICY, Action
from common import limits
from devices.models import Device
from gateway import columns
from gateway.claim_statements import worth_claiming

TRUST = f"interval '{int(limits.DEVICE_CLOCK_TRUST.total_seconds())} seconds'"
_PAST_BOOTS = 8
PENDING = Device.Lifecycle.PENDING.value
RETIRED = Device.Lifecycle.RETIRED.value

SENDING_ROLES = sorted(POLICY[Action.HEARTBEAT_SEND])

# What a row of the gathered statement is made of: the sender, then the heartbeat in canonical form.
ROW = (
    *("token", "api_key", "wanted", "live", "last"),
    *("ts", "boot_id", "sequence", "health", "version", "agent_version", "commit"),
    *("last_convergence", "uptime_seconds", "cpu_percent", "mem_percent", "disk_percent"),
    *("disk_free_gb", "temperature_c", "containers_running", "containers_failed"),
    *("metrics", "status", "errors"),
)

# Values of changing length: one array for each of them.
UNNESTED: dict[str, tuple[str, columns.Encoder]] = {
    "token": ("bytea", columns.binaries),
    "api_key": ("bytea", columns.binaries),
    "wanted": ("text", columns.texts),
    "boot_id": ("text", columns.texts),
    "health": ("text", columns.texts),
    "version": ("text", columns.texts),
    "agent_version": ("text", columns.texts),
    "commit": ("text", columns.texts),
    "metrics": ("jsonb", columns.documents),
    "status": ("jsonb", columns.documents),
    "errors": ("jsonb", columns.documents),
}
# Values of one length: all rows' in one array, row after row. To unnest each of them costs
# PostgreSQL twice as much as to pick an element, for which an array must hold no NULL: the least
# value stands for it.
PACKED: list[tuple[str, str, list[str], columns.Packer]] = [
    (
        "bigint",
        "-9223372036854775808",
        ["live", "last", "sequence", "uptime_seconds", "containers_running", "containers_failed"],
        columns.packed_bigints,
    ),
    ("timestamptz", "-infinity", ["ts", "last_convergence"], columns.packed_moments),
    (
        "float8",
        "NaN",
        ["cpu_percent", "mem_percent", "disk_percent", "disk_free_gb", "temperature_c"],
        columns.packed_floats,
    ),
]
_FIRST_PACKED = 2 + len(UNNESTED)
NAMES = ", ".join(UNNESTED)
ARRAYS = ", ".join(f"${number}" for number, _ in enumerate(UNNESTED, start=2))
TYPES = ", ".join(
    f"{kind}[]"
    for kind in (*(kind for kind, _ in UNNESTED.values()), *(kind for kind, _, _, _ in PACKED))
)
SERVER_TIME = """to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')"""


def _elements() -> dict[str, str]:
    """Return for each packed value the SQL that picks it for the row number `i`."""
    found: dict[str, str] = {}
    for parameter, (kind, null, names, _) in enumerate(PACKED, start=_FIRST_PACKED):
        for position, name in enumerate(names, start=1 - len(names)):
            element = f"${parameter}[{len(names)} * i::integer{position:+d}]"
            found[name] = f"nullif({element}, '{null}'::{kind})"
    return found


PICKED = _elements()

# Who is behind a credential: `t` the token, `k` the API key, `o` the organisation, `d` the device.
_CREDENTIAL = """
    LEFT JOIN devices_devicetoken t
           ON t.sha256 = r.token AND t.revoked_at IS NULL
          AND (t.expires_at IS NULL OR t.expires_at > now())
    LEFT JOIN accounts_apikey k
           ON k.sha256 = r.api_key AND k.revoked_at IS NULL
          AND (k.expires_at IS NULL OR k.expires_at > now())
    LEFT JOIN accounts_organization o
           ON o.id = coalesce(t.organization_id, k.organization_id) AND o.is_active
"""

# The moment of a heartbeat: the device's when it can be trusted.
MOMENT = f"""CASE WHEN {PICKED["ts"]} BETWEEN now() - {TRUST} AND now() + {TRUST}
                THEN {PICKED["ts"]} ELSE now() END"""

HISTORY = """INSERT INTO devices_heartbeat (
           device_id, organization_id, at, received_at, boot_id, sequence, health, version, commit,
           uptime_seconds, cpu_percent, mem_percent, disk_percent, disk_free_gb, temperature_c,
           containers_running, containers_failed, metrics, status, errors)"""

# What the device's state is after a heartbeat `w`.
_VERSION_NOW = "CASE WHEN w.newer AND w.version <> '' THEN w.version ELSE w.old_version END"
_HEALTH_NOW = """coalesce(w.override, CASE WHEN w.newer OR w.old_health IN ('offline', 'unknown')
                                          THEN w.health ELSE w.old_health END)"""

# Outcomes are HTTP statuses. A heartbeat that comes back in no row belongs to a device whose
# state somebody else is writing at the moment, or that has no state row yet. What decides stands
# before what is only carried along: a row is read from the left as far as it is needed.
# `gateway.plain_statement` does the same with heartbeats that have nothing unusual.
HEARTBEATS = f"""
PREPARE heartbeats (text[], {TYPES}) AS
WITH known AS MATERIALIZED (
    SELECT r.i::integer AS i, d.id AS device, d.organization_id,
           CASE WHEN o.id IS NULL OR (t.id IS NOT NULL AND d.lifecycle = '{RETIRED}') THEN 401
                WHEN k.id IS NOT NULL AND k.role <> ALL ($1) THEN 403
                WHEN d.id IS NULL OR d.device_id <> r.wanted THEN 404
                WHEN d.lifecycle = '{RETIRED}' THEN 403
                ELSE 200 END AS outcome,
           d.lifecycle <> '{PENDING}' AS accepted, {PICKED["last"]} = 1 AS last,
           coalesce(d.heartbeat_interval_s, o.heartbeat_interval_s) AS interval_s,
           d.target_version,
           CASE WHEN t.confirmed_at IS NULL THEN t.id END AS first_use,
           CASE WHEN k.last_used_at IS NULL OR k.last_used_at < now() - interval '1 minute'
                THEN k.id END AS key_use,
           CASE WHEN d.status_override_until IS NULL OR d.status_override_until > now()
                THEN nullif(d.status_override, '') END AS override,
           {MOMENT} AS at,
           r.health, r.boot_id, {PICKED["sequence"]} AS sequence, r.version, r.agent_version,
           r.commit, r.metrics, r.status, r.errors
      FROM unnest({ARRAYS}) WITH ORDINALITY AS r ({NAMES}, i)
    {_CREDENTIAL}
    LEFT JOIN devices_device d
           ON d.id = coalesce(t.device_id, (SELECT x.id FROM devices_device x
                                             WHERE x.organization_id = k.organization_id
                                               AND x.device_id = r.wanted))
), held AS MATERIALIZED (
    -- Nobody waits for a lock here, so gateways cannot block each other, let alone deadlock.
    SELECT s.health AS old_health, s.version AS old_version,
           CASE WHEN s.at IS NULL THEN true
                WHEN n.boot_id = '' THEN n.at >= least(s.at, s.last_seen)
                WHEN n.boot_id = s.boot_id AND n.sequence IS NOT NULL AND s.sequence IS NOT NULL
                THEN n.sequence > s.sequence
                WHEN n.boot_id = s.boot_id THEN n.at >= s.at
                WHEN s.past_boots ? n.boot_id THEN false
                -- No heartbeat is younger than its receipt: a clock that ran ahead counts as that.
                ELSE n.at > least(s.at, s.last_seen) END AS newer,
           n.*
      FROM known n JOIN devices_devicestate s ON s.device_id = n.device
     WHERE n.outcome = 200
       FOR NO KEY UPDATE OF s SKIP LOCKED
), decided AS NOT MATERIALIZED (
    SELECT w.*, {_HEALTH_NOW} AS new_health
      FROM held w WHERE w.last
), stored AS (
    {HISTORY}
    SELECT device, organization_id, at, now(), boot_id, coalesce(sequence, 0), health, version,
           commit, {PICKED["uptime_seconds"]}, {PICKED["cpu_percent"]}, {PICKED["mem_percent"]},
           {PICKED["disk_percent"]}, {PICKED["disk_free_gb"]}, {PICKED["temperature_c"]},
           {PICKED["containers_running"]}, {PICKED["containers_failed"]}, metrics, status, errors
      FROM held WHERE accepted
    ON CONFLICT DO NOTHING
), told AS (
    INSERT INTO devices_deviceevent (
           id, organization_id, device_id, at, kind, severity, message, details)
    SELECT (substr(ms, 1, 8) || '-' || substr(ms, 9) || '-7'
            || substr(gen_random_uuid()::text, 16))::uuid,
           organization_id, device, now(), 'health',
           CASE new_health WHEN 'failed' THEN 'error' WHEN 'offline' THEN 'error'
                           WHEN 'degraded' THEN 'warning' ELSE 'info' END,
           CASE old_health WHEN 'offline' THEN 'Back online: ' || new_health
                           WHEN 'unknown' THEN 'First heartbeat: ' || new_health
                           ELSE 'Health changed from ' || old_health || ' to ' || new_health END,
           jsonb_build_object('from', old_health, 'to', new_health)
      FROM decided,
           lpad(to_hex((extract(epoch FROM clock_timestamp()) * 1000)::bigint), 12, '0') AS ms
     WHERE accepted AND new_health <> old_health
), moved AS (
    UPDATE devices_devicestate s SET
           last_seen = greatest(s.last_seen, now()),
           health = w.new_health,
           health_since = CASE WHEN w.new_health = s.health AND s.health_since IS NOT NULL
                               THEN s.health_since ELSE now() END,
           at = CASE WHEN w.newer THEN w.at ELSE s.at END,
           past_boots = CASE WHEN w.newer AND w.boot_id <> '' AND s.boot_id NOT IN ('', w.boot_id)
                             THEN CASE WHEN jsonb_array_length(s.past_boots) >= {_PAST_BOOTS}
                                       THEN s.past_boots - 0 ELSE s.past_boots END
                                  || to_jsonb(s.boot_id)
                             ELSE s.past_boots END,
           boot_id = CASE WHEN w.newer AND w.boot_id <> '' THEN w.boot_id ELSE s.boot_id END,
           sequence = CASE WHEN w.newer AND w.boot_id <> '' THEN w.sequence ELSE s.sequence END,
           skew_ms = CASE WHEN w.newer AND {PICKED["live"]} = 1 AND {PICKED["ts"]} IS NOT NULL
                          THEN (extract(epoch FROM {PICKED["ts"]} - now()) * 1000)::bigint
                          ELSE s.skew_ms END,
           version = CASE WHEN w.newer AND w.version <> '' THEN w.version ELSE s.version END,
           agent_version = CASE WHEN w.newer AND w.agent_version <> '' THEN w.agent_version
                                ELSE s.agent_version END,
           commit = CASE WHEN w.newer AND w.commit <> '' THEN w.commit ELSE s.commit END,
           last_convergence = CASE WHEN w.newer
                                   THEN coalesce({PICKED["last_convergence"]}, s.last_convergence)
                                   ELSE s.last_convergence END,
           uptime_seconds = CASE WHEN w.newer THEN {PICKED["uptime_seconds"]}
                ELSE s.uptime_seconds END,
           cpu_percent = CASE WHEN w.newer THEN {PICKED["cpu_percent"]}
                ELSE s.cpu_percent END,
           mem_percent = CASE WHEN w.newer THEN {PICKED["mem_percent"]}
                ELSE s.mem_percent END,
           disk_percent = CASE WHEN w.newer THEN {PICKED["disk_percent"]}
                ELSE s.disk_percent END,
           disk_free_gb = CASE WHEN w.newer THEN {PICKED["disk_free_gb"]}
                ELSE s.disk_free_gb END,
           temperature_c = CASE WHEN w.newer THEN {PICKED["temperature_c"]}
                ELSE s.temperature_c END,
           containers_running = CASE WHEN w.newer THEN {PICKED["containers_running"]}
                ELSE s.containers_running END,
           containers_failed = CASE WHEN w.newer THEN {PICKED["containers_failed"]}
                ELSE s.containers_failed END,
           metrics = CASE WHEN w.newer THEN coalesce(w.metrics, '{{}}') ELSE s.metrics END,
           status = CASE WHEN w.newer THEN coalesce(w.status, '{{}}') ELSE s.status END,
           errors = CASE WHEN w.newer THEN coalesce(w.errors, '[]') ELSE s.errors END
      FROM decided w WHERE s.device_id = w.device
)
SELECT 200, CASE WHEN accepted THEN
            (SELECT count(*) FROM commands_command c
              WHERE c.device_id = w.device AND {worth_claiming(_VERSION_NOW, _HEALTH_NOW)})
            ELSE 0 END::integer,
       target_version, interval_s, array_agg(i), first_use, key_use, {SERVER_TIME}
  FROM held w
 GROUP BY 2, 3, 4, 6, 7
UNION ALL
SELECT outcome, 0, '', 60, array_agg(i), first_use, key_use, ''
  FROM known WHERE outcome <> 200
 GROUP BY 1, 6, 7
"""  # noqa: S608 - only constants of this module are put in

PARTITIONS = "SELECT devices_heartbeat_partitions((now() AT TIME ZONE 'UTC')::date - 1, 4)"

# The first use of a successor ends every other token of its device; of two used at once the
# younger one stays.
CONFIRM = """
WITH used AS (
    SELECT DISTINCT ON (device_id) id FROM devices_devicetoken
     WHERE id = ANY (%s) AND confirmed_at IS NULL AND revoked_at IS NULL
     ORDER BY device_id, created_at DESC, id DESC
), confirmed AS (
    UPDATE devices_devicetoken t SET confirmed_at = now(), expires_at = NULL
      FROM used u WHERE t.id = u.id AND t.confirmed_at IS NULL AND t.revoked_at IS NULL
    RETURNING t.id, t.device_id
)
UPDATE devices_devicetoken t SET revoked_at = now()
  FROM confirmed c WHERE t.device_id = c.device_id AND t.id <> c.id AND t.revoked_at IS NULL
"""

KEY_USED = """
UPDATE accounts_apikey SET last_used_at = now()
 WHERE id = ANY (%s) AND (last_used_at IS NULL OR last_used_at < now() - interval '1 minute')
"""

# A device that was made without its state row would be busy for ever.
STATE_ROWS = """
INSERT INTO devices_devicestate (
       device_id, organization_id, health, boot_id, past_boots, version, agent_version, commit,
       metrics, status, errors, flaps)
SELECT id, organization_id, 'unknown', '', '[]', '', '', '', '{}', '{}', '[]', 0
  FROM devices_device d
 WHERE (device_id = ANY (%s)
        OR id IN (SELECT device_id FROM devices_devicetoken WHERE sha256 = ANY (%s)))
   -- The insert alone would wait for whoever is writing an existing row.
   AND NOT EXISTS (SELECT FROM devices_devicestate s WHERE s.device_id = d.id)
ON CONFLICT DO NOTHING
"""

# Who sends a batch: the device of a token, or the role of an API key.
SENDER = f"""
SELECT d.device_id, k.role, coalesce(d.lifecycle, '')
  FROM (SELECT %s::bytea AS token, %s::bytea AS api_key) r
{_CREDENTIAL}
  LEFT JOIN devices_device d ON d.id = t.device_id
 WHERE o.id IS NOT NULL AND d.lifecycle IS DISTINCT FROM '{RETIRED}'
"""  # noqa: S608

PULSE = """
INSERT INTO devices_servicepulse AS p (name, since, at) VALUES ('gateway', now(), now())
ON CONFLICT (name) DO UPDATE
   SET since = CASE WHEN p.at < now() - interval '30 seconds' THEN now() ELSE p.since END,
       at = now()
"""
