"""The SQL of claims and streams: what is claimable, handing it out, and what a device is told."""

from commands.models import Command
from common import limits
from devices.models import Device
from releases.models import WAITING, WORKING

CHANNEL = "fleet_commands"
_LEASE = f"interval '{int(limits.COMMAND_LEASE.total_seconds())} seconds'"
_QUEUED = Command.Status.QUEUED.value
_DELIVERED = Command.Status.DELIVERED.value
_CANCELLED = Command.Status.CANCELLED.value
_DROP = Command.Mismatch.DROP.value
_PENDING = Device.Lifecycle.PENDING.value
_RETIRED = Device.Lifecycle.RETIRED.value
_RUNNING = Command.Status.RUNNING.value
_IN_FLIGHT = f"('{_DELIVERED}', '{_RUNNING}')"
_TO_DO = "('" + "', '".join([*WAITING, *WORKING]) + "')"
_OPEN = f"('{_QUEUED}', '{_DELIVERED}', '{_RUNNING}')"

# `c` is the command everywhere below.
_DUE = f"""c.status = '{_QUEUED}' AND c.expires_at > now() AND c.held_reason = ''
       AND (c.not_before IS NULL OR c.not_before <= now()) AND c.protocol = 'agent'"""
_STOPPING = f"c.status IN {_IN_FLIGHT} AND c.cancel_requested_at IS NOT NULL"


def _holds(version: str, health: str) -> str:
    """Return SQL: what the command expects of a device with this version and health holds."""
    return f"(c.expect_version IN ('', {version}) AND c.expect_state IN ('', {health}))"


def worth_claiming(version: str, health: str) -> str:
    """Return SQL: a claim of the device would move this command.

    Both arguments are SQL too, and not NULL. A command that is stale counts: the claim ends it.
    """
    return f"""{_DUE}
       AND (c.on_mismatch = '{_DROP}' OR {_holds(version, health)})
       AND (NOT c.disruptive OR NOT EXISTS (
                SELECT FROM commands_command f
                 WHERE f.device_id = c.device_id AND f.disruptive AND f.status IN {_IN_FLIGHT}))"""


# Who asks, in rows numbered by `i`: nobody for an unknown credential. `number` is the caller's.
_WHO = f"""
who AS MATERIALIZED (
    SELECT r.i::integer AS i, r.number, d.id AS device, d.device_id = r.wanted AS matches,
           d.device_id = r.wanted AND d.lifecycle <> '{_PENDING}' AS may,
           CASE WHEN t.confirmed_at IS NULL THEN t.id END AS first_use,
           coalesce(s.version, '') AS version, coalesce(s.health, '') AS health
      FROM unnest($1, $2, $3) WITH ORDINALITY AS r (credential, wanted, number, i)
      JOIN devices_devicetoken t
           ON t.sha256 = r.credential AND t.revoked_at IS NULL
          AND (t.expires_at IS NULL OR t.expires_at > now())
      JOIN accounts_organization o ON o.id = t.organization_id AND o.is_active
      JOIN devices_device d ON d.id = t.device_id AND d.lifecycle <> '{_RETIRED}'
      LEFT JOIN devices_devicestate s ON s.device_id = d.id
)"""  # noqa: S608 - only constants of this module are put in

# Rows are taken with SKIP LOCKED: a command goes to one claim, and nobody waits for another.
# They are locked by then: the UPDATEs ask for nothing but the key, which keeps them at look-ups.
# One look over the device's open commands says what the look-ups after it are needed for: most
# claims find nothing. Of disruptive commands the first may go, and only while none is in flight.
CLAIMS = f"""
PREPARE claims (bytea[], text[], bigint[]) AS
WITH {_WHO}, ready AS MATERIALIZED (
    SELECT w.*, l.claimable, l.stale, CASE WHEN NOT l.disturbed THEN l.disruptive END AS disruptive
      FROM who w CROSS JOIN LATERAL (
           SELECT bool_or(due AND holds) AS claimable,
                  bool_or(due AND NOT holds AND on_mismatch = '{_DROP}') AS stale,
                  coalesce(bool_or(disruptive AND status IN {_IN_FLIGHT}), false) AS disturbed,
                  (array_agg(id ORDER BY priority DESC, sequence)
                         FILTER (WHERE disruptive AND due AND holds))[1] AS disruptive
             FROM (SELECT c.id, c.priority, c.sequence, c.status, c.disruptive, c.on_mismatch,
                          {_DUE} AS due, {_holds("w.version", "w.health")} AS holds
                     FROM commands_command c
                    WHERE c.device_id = w.device AND c.status IN {_OPEN}) c
           ) l
     WHERE w.may
), picked AS MATERIALIZED (
    SELECT p.id, w.i
      FROM ready w CROSS JOIN LATERAL (
           SELECT c.id FROM commands_command c
            WHERE c.device_id = w.device AND {_DUE} AND {_holds("w.version", "w.health")}
              AND (NOT c.disruptive OR c.id = w.disruptive)
            ORDER BY c.priority DESC, c.sequence LIMIT w.number
              FOR UPDATE OF c SKIP LOCKED) p
     WHERE w.claimable
), outdated AS MATERIALIZED (
    SELECT p.id, left(concat_ws(' ', p.of_version, p.of_state), {limits.LINE_CHARS}) AS error
      FROM ready w CROSS JOIN LATERAL (
           SELECT c.id,
                  CASE WHEN c.expect_version NOT IN ('', w.version) THEN
                       format('Expected version %s, the device has %s.', c.expect_version,
                              coalesce(nullif(w.version, ''), 'none')) END AS of_version,
                  CASE WHEN c.expect_state NOT IN ('', w.health) THEN
                       format('Expected state %s, the device is %s.', c.expect_state,
                              coalesce(nullif(w.health, ''), 'unknown')) END AS of_state
             FROM commands_command c
            WHERE c.device_id = w.device AND {_DUE} AND c.on_mismatch = '{_DROP}'
              AND NOT {_holds("w.version", "w.health")}
            ORDER BY c.priority DESC, c.sequence
              FOR UPDATE OF c SKIP LOCKED) p
     WHERE w.stale
), dropped AS (
    UPDATE commands_command c
       SET status = '{_CANCELLED}', moved_by = 'gateway', finished_at = now(),
           error_code = 'stale', error = o.error
      FROM outdated o WHERE c.id = o.id
), taken AS (
    -- What an earlier attempt left behind is in its own row; this one begins with nothing.
    UPDATE commands_command c
       SET status = '{_DELIVERED}', moved_by = 'gateway', attempt = c.attempt + 1,
           delivered_at = now(), lease_expires_at = now() + {_LEASE},
           result = NULL, failure_class = '', error_code = '', error = '', output = ''
      FROM picked p WHERE c.id = p.id
    RETURNING p.i, c.id, c.kind, c.payload, c.attempt, c.sequence, c.lease_expires_at,
              c.expires_at, c.run_timeout_s, c.disruptive, c.priority
)
SELECT w.i, w.matches, w.device, w.first_use,
       t.id, t.kind, t.payload::text, t.attempt, t.sequence, t.lease_expires_at, t.expires_at,
       t.run_timeout_s, t.disruptive
  FROM who w LEFT JOIN taken t ON t.i = w.i ORDER BY w.i, t.priority DESC, t.sequence
"""  # noqa: S608 - only constants of this module are put in

# What a device is told over its stream. `number` is 1 for a stream that is just being opened: the
# gateways hear of it, and whoever has an earlier one of the device ends that.
STREAMS = f"""
PREPARE streams (bytea[], text[], bigint[]) AS
WITH {_WHO}
SELECT w.i, w.matches, w.device, w.first_use,
       CASE WHEN w.may THEN (
            SELECT count(*) FROM commands_command c
             WHERE c.device_id = w.device AND {worth_claiming("w.version", "w.health")})
       ELSE 0 END::integer,
       (SELECT json_agg(json_build_array(c.id, c.attempt) ORDER BY c.sequence)::text
          FROM commands_command c
         WHERE c.device_id = w.device AND {_STOPPING}),
       n.at,
       (SELECT json_build_array(u.id, u.to_version, u.kind, u.is_paused)::text
          FROM releases_deviceupdate u
         WHERE u.device_id = w.device AND u.status IN {_TO_DO}),
       CASE WHEN w.number = 1 AND w.matches THEN pg_notify(
            '{CHANNEL}', w.device::text || ' stream ' || n.at) END
  FROM who w, (SELECT (extract(epoch FROM now()) * 1000000)::bigint AS at) n
"""  # noqa: S608

# Which of these devices have something to claim or to stop: the net below the notifications, and
# what tells of a moment that has come or of an expectation that holds by now.
WAKEABLE = f"""
SELECT d.id FROM unnest(%s::uuid[]) AS d (id)
  LEFT JOIN devices_devicestate s ON s.device_id = d.id
 WHERE EXISTS (
       SELECT FROM commands_command c
        WHERE c.device_id = d.id AND c.status IN {_OPEN}
          AND ({worth_claiming("coalesce(s.version, '')", "coalesce(s.health, '')")}
               OR {_STOPPING}))
"""  # noqa: S608
