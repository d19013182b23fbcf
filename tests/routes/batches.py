"""Batches of commands."""

from typing import Any

from tests.routes.shapes import Body, Entry, Operation, get
from tests.world import Names


def _batch(selection: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": "a new batch",
        "type": "config",
        "payload": {"changes": {"NOTE": "x"}},
        "selection": selection,
        "draft": True,
    }


def _of_device(names: Names) -> dict[str, Any]:
    return _batch({"devices": [names["device_id"]]})


# The same as `_of_device`, by every other way.
_WAYS: tuple[Body, ...] = (
    lambda names: _batch({"group": names["group_id"]}),
    lambda names: _batch({"group": names["group_name"]}),
    lambda names: _batch({"tags": [names["tag"]]}),
    lambda names: _batch({"filter": {"role": names["role"]}}),
    lambda names: _batch({"filter": {"group": names["group_name"]}}),
    lambda names: {**_of_device(names), "template": names["template_id"]},
)


def _selection_of(way: Body) -> Body:
    return lambda names: {"selection": way(names)["selection"]}


def _act(route: str, action: str, pk: str, **fields: Any) -> Operation:
    entry = Entry(f"batch.{action}", "commandbatch", pk)
    fields.setdefault("body", lambda _: {"reason": "a test"})
    return Operation(route, "POST", path={"pk": pk}, entries=(entry,), **fields)


BATCHES = [
    get("batches"),
    Operation(
        "batches",
        "POST",
        status=201,
        body=_of_device,
        also=_WAYS,
        entries=(Entry("batch.create", "commandbatch"),),
    ),
    Operation(
        "batches-preview",
        "POST",
        body=lambda names: {"selection": {"devices": [names["device_id"]]}},
        also=tuple(map(_selection_of, _WAYS[:-1])),
        unlogged="it tells, and changes nothing",
    ),
    # A device reads its commands; batches are none of its business.
    get("batch", path={"pk": "batch_id"}, expect={"device": 404}),
    get("batch-targets", path={"pk": "batch_id"}, expect={"device": 404}),
    _act("batch-start", "start", "draft_batch_id"),
    # Approving takes a person.
    _act("batch-approve", "approve", "unapproved_batch_id", expect={"key": 403}),
    _act("batch-pause", "pause", "batch_id"),
    _act("batch-resume", "resume", "paused_batch_id"),
    _act("batch-cancel", "cancel", "batch_id"),
    Operation(
        "batch-retry",
        "POST",
        status=201,
        path={"pk": "batch_id"},
        body=lambda _: {"draft": True},
        entries=(Entry("batch.create", "commandbatch"),),
    ),
]
