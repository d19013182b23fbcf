"""Who a rollout covers: chosen, put into an order nobody chose, and frozen."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any

from django.db.models import QuerySet

from accounts.models import Organization
from accounts.principals import Principal
from commands.errors import SelectionRefused
from commands.services.batch_targets import filtered, of_group
from common import limits
from common.db import execute, statements_may_take
from common.ids import NIL_UUID
from devices.models import Device
from releases.models import Release, Rollout, RolloutTarget

WAYS = ["all", "devices", "group", "tags", "filter"]
# Of RolloutTarget.left_out: shows what is normal until a person lets it in.
HOLDBACK = "hold-back group"
BUCKETS = 10_000
# Devices frozen at once after which the database has to know of them.
MANY = 10_000
# What a statement of Django's has for a value; a doubled sign is a sign.
_PLACE = re.compile("%%|%s")

# The same as bucket_of; %(salt)s is the rollout's, d the device.
BUCKET_SQL = """
(('x' || encode(substr(sha256(convert_to(%(salt)s::text || ':' || d.device_id, 'UTF8')), 1, 4),
                'hex'))::bit(32)::bigint %% 10000)
"""
# What a Chosen has of the device itself.
_COLUMNS = ["id", "organization_id", "device_id", "segment", "role", "site"]

# A bucket is computed once, not wherever it is named.
_FREEZE = """
INSERT INTO releases_rollouttarget
       (organization_id, rollout_id, device_id, segment, bucket, left_out, added_at)
SELECT c.organization_id, %(rollout)s, c.id, c.segment, c.bucket,
       CASE WHEN c.bucket >= %(held_from)s THEN %(holdback)s ELSE '' END, %(now)s
  FROM (SELECT * FROM ({chosen}) c OFFSET 0) c
 WHERE NOT EXISTS (SELECT FROM releases_rollouttarget t
                    WHERE t.rollout_id = %(rollout)s AND t.device_id = c.id)
 ORDER BY c.segment, c.bucket
ON CONFLICT (rollout_id, device_id) DO NOTHING
"""


def bucket_of(salt: str, device_id: str) -> int:
    """Return the place of a device in the order of a rollout: 0 to 9999."""
    first = sha256(f"{salt}:{device_id}".encode()).digest()[:4]
    return int.from_bytes(first, "big") % BUCKETS


def held_from(holdback_percent: int) -> int:
    """Return the first bucket of the hold-back group."""
    return BUCKETS - 100 * holdback_percent


def everybody(organization: Organization) -> Principal:
    """Return who sees all devices of the organisation: the rollout that looks for new ones."""
    return Principal(
        kind="api_key", id=NIL_UUID, label="rollout", organization=organization, role=None
    )


def selected(*, selection: Mapping[str, Any], principal: Principal) -> QuerySet[Device]:
    """Return the present devices of a selection among those the principal sees.

    Exactly one of `all` (true), `devices` (device ids), `group` (id or name), `tags` (a device
    carries all) or `filter` (what the list of devices takes). Raises SelectionRefused.
    """
    principal.acting_organization()
    ways = [way for way in WAYS if way in selection]
    if len(ways) != 1 or len(selection) != 1:
        raise SelectionRefused(
            f"Choose devices in exactly one way of: {', '.join(WAYS)}.",
            errors={"selection": [f"Name one of {', '.join(WAYS)}."]},
        )
    visible = Device.objects.visible_to(principal).present()
    wanted = selection[ways[0]]
    match ways[0]:
        case "all":
            return visible
        case "devices":
            return _listed(visible, wanted)
        case "group":
            return of_group(visible, wanted, principal)
        case "tags":
            return visible.filter(tags__contains=wanted)
        case _:
            return filtered(visible, wanted)


def _listed(visible: QuerySet[Device], wanted: list[str]) -> QuerySet[Device]:
    if len(wanted) > limits.BATCH_LISTED:
        raise SelectionRefused(
            f"{len(wanted)} devices are named; at most {limits.BATCH_LISTED} are taken."
            " Choose them by group, tags or filter."
        )
    return visible.filter(device_id__in=wanted)


@dataclass(frozen=True)
class Chosen:
    """Devices as a statement: id, organization_id, device_id, segment, role, site and bucket.

    It never leaves the database, however many there are.
    """

    statement: str
    parameters: dict[str, Any]


def chosen_now(
    *, selection: Mapping[str, Any], release: Release, salt: str, segments: list[str],
    principal: Principal,
) -> Chosen:  # fmt: skip
    """Return what a selection means now: its devices of the release's roles and the segments."""
    devices = selected(selection=selection, principal=principal)
    if release.roles:
        devices = devices.filter(role__in=release.roles)
    # No way to choose finds a device twice: names of groups are unique.
    devices = devices.filter(segment__in=segments).order_by()
    inner, given = devices.values(*_COLUMNS).query.sql_with_params()
    names = [f"chosen_{number}" for number in range(len(given))]
    places = iter(names)
    inner = _PLACE.sub(lambda hit: f"%({next(places)})s" if hit[0] == "%s" else hit[0], inner)
    statement = f"""
    SELECT d.*, {BUCKET_SQL} AS bucket FROM ({inner}) d
    """  # noqa: S608 - the inner statement is Django's, its values are parameters
    return Chosen(statement, {"salt": salt, **dict(zip(names, given, strict=True))})


def chosen_of(rollout: Rollout, principal: Principal | None = None) -> Chosen:
    """Return what the selection of a rollout means now, for whoever made it or for anybody."""
    return chosen_now(
        selection=rollout.selection,
        release=rollout.release,
        salt=rollout.salt,
        segments=list(rollout.stages.values_list("segment", flat=True)),
        principal=principal or everybody(rollout.organization),
    )


def targets_add(*, rollout: Rollout, chosen: Chosen, now: datetime) -> int:
    """Freeze the devices that are no targets yet; return how many joined.

    Raises SelectionRefused when there are more than a rollout can hold.
    """
    # A hundred thousand rows take longer than a request's statements may. Their keys are checked
    # here and not at the end, when others wait for the log.
    statements_may_take(seconds=60)
    added = execute(
        _FREEZE.format(chosen=chosen.statement),
        {
            **chosen.parameters,
            "rollout": rollout.pk,
            "held_from": held_from(rollout.holdback_percent),
            "holdback": HOLDBACK,
            "now": now,
        },
    )
    execute("SET CONSTRAINTS ALL IMMEDIATE")
    execute("SET CONSTRAINTS ALL DEFERRED")
    if added >= MANY:
        # The first sweeps come before the database has looked by itself how many there are.
        execute("ANALYZE (SKIP_LOCKED) releases_rollouttarget")
    if added or not rollout.total:
        rollout.total = RolloutTarget.objects.filter(rollout=rollout).count()
        rollout.save(update_fields=["total"])
    if rollout.total > limits.ROLLOUT_DEVICES:
        raise SelectionRefused(
            f"More than {limits.ROLLOUT_DEVICES} devices are chosen. Narrow the selection."
        )
    return added
