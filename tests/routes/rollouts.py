"""Rollouts, eligibility and calendars."""

from typing import Any

from tests.routes.shapes import Body, Entry, Operation, get
from tests.world import Names

RELEASE = {"version": "rollout_version"}
CALENDAR = {"pk": "calendar_id"}
PLAN = {
    "stages": [{"segment": "general", "percentage": 50, "soak_minutes": 5}],
    "holdback_percent": 5,
    "rate_per_minute": 10,
    "concurrency": 5,
    "window": {"start": "22:00", "duration_minutes": 60, "timezone": "Europe/Berlin", "days": [1]},
    "blackouts": [{"from": "2030-12-24T00:00:00Z", "to": "2030-12-27T00:00:00Z", "reason": "x"}],
    "failure_rules": [{"failure": "all", "threshold_percent": 10, "min_completed": 3}],
    "regression": {"enabled": True, "alpha": 0.01, "observe_minutes": 10},
}
# Nothing was updated: the way back is at its end at once.
BACK = ("halt", "rollback", "rolled_back")


def _reason(_: Names) -> dict[str, Any]:
    return {"reason": "a test"}


def _planned(names: Names) -> dict[str, Any]:
    selection = {"devices": [names["device_id"]]}
    return {"release": names["version"], "name": "new", "selection": selection, **PLAN}


# The same as `_planned`, by every other way to choose.
_WAYS: tuple[Body, ...] = (
    lambda names: {**_planned(names), "selection": {"all": True}},
    lambda names: {**_planned(names), "selection": {"group": names["group_id"]}},
    lambda names: {**_planned(names), "selection": {"tags": [names["tag"]]}},
    lambda names: {**_planned(names), "selection": {"filter": {"role": names["role"]}}},
)


def _entries(pk: str, *verbs: str) -> tuple[Entry, ...]:
    return tuple(Entry(f"rollout.{verb}", "rollout", pk) for verb in verbs)


def _act(verb: str, action: str, pk: str, **fields: Any) -> Operation:
    fields.setdefault("body", _reason)
    fields.setdefault("entries", _entries(pk, action))
    return Operation(f"rollout-{verb}", "POST", path={"pk": pk}, **fields)


def _release_act(verb: str, rollout: str, **fields: Any) -> Operation:
    return Operation(
        f"release-{verb}",
        "POST",
        path={"version": f"{rollout}_version"},
        **{"body": _reason, "entries": _entries(f"{rollout}_id", verb), **fields},
    )


ROLLOUTS: list[Operation] = [
    get("stream"),
    get("rollouts"),
    Operation(
        "rollouts",
        "POST",
        status=201,
        body=_planned,
        also=_WAYS,
        entries=(Entry("rollout.create", "rollout"),),
    ),
    Operation(
        "rollouts-preview",
        "POST",
        body=lambda names: {
            "release": names["version"],
            "selection": {"devices": [names["device_id"]]},
        },
        unlogged="it tells, and changes nothing",
    ),
    Operation(
        "rollouts-simulate",
        "POST",
        body=lambda names: {key: value for key, value in _planned(names).items() if key != "name"},
        unlogged="it tells, and changes nothing",
    ),
    get("rollout-simulation", path={"pk": "rollout_id"}),
    get("rollout", path={"pk": "rollout_id"}),
    Operation(
        "rollout",
        "PATCH",
        path={"pk": "draft_rollout_id"},
        body=lambda _: {"name": "another", **PLAN},
        entries=(Entry("rollout.update", "rollout", "draft_rollout_id"),),
    ),
    Operation(
        "rollout",
        "DELETE",
        status=204,
        path={"pk": "draft_rollout_id"},
        entries=(Entry("rollout.delete", "rollout", "draft_rollout_id"),),
    ),
    get("rollout-targets", path={"pk": "rollout_id"}),
    get("rollout-events", path={"pk": "rollout_id"}),
    _act(
        "start", "start", "draft_rollout_id", entries=_entries("draft_rollout_id", "drill", "start")
    ),
    # Approving takes a person.
    _act("approve", "approve", "unapproved_rollout_id", expect={"key": 403}),
    _act("pause", "pause", "rollout_id"),
    _act("resume", "resume", "paused_rollout_id", body=_reason),
    _act(
        "promote",
        "promote",
        "rollout_id",
        body=lambda _: {"targetSegment": "early", "reason": "a test"},
    ),
    _act("halt", "halt", "rollout_id"),
    _act("rollback", "rollback", "rollout_id", entries=_entries("rollout_id", *BACK)),
    _act("holdback-release", "holdback_release", "rollout_id"),
    _act("drill", "drill", "rollout_id", body=None),
    _release_act("promote", "rollout", body=lambda _: {"target_segment": "early", "reason": "x"}),
    _release_act("pause", "rollout"),
    _release_act("resume", "halted_rollout"),
    _release_act("rollback", "rollout", entries=_entries("rollout_id", *BACK)),
    get("release-eligibility", path=RELEASE),
    get("site-calendars"),
    Operation(
        "site-calendars",
        "POST",
        status=201,
        body=lambda _: {
            "site": "a new site",
            "timezone": "Europe/Berlin",
            "windows": [{"start": "22:00", "duration_minutes": 120, "days": [0]}],
            "blackouts": [{"from": "2030-12-24T00:00:00Z", "to": "2030-12-27T00:00:00Z"}],
        },
        entries=(Entry("calendar.create", "sitecalendar"),),
    ),
    get("site-calendar", path=CALENDAR),
    Operation(
        "site-calendar",
        "PATCH",
        path=CALENDAR,
        body=lambda _: {"timezone": "Europe/Paris", "windows": [], "blackouts": []},
        entries=(Entry("calendar.update", "sitecalendar", "calendar_id"),),
    ),
    Operation(
        "site-calendar",
        "DELETE",
        status=204,
        path=CALENDAR,
        entries=(Entry("calendar.delete", "sitecalendar", "calendar_id"),),
    ),
]
