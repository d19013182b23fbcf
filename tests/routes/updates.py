"""What devices fetch and report of updates."""

from tests.routes.shapes import Entry, Operation, get

PK = {"pk": "update_id"}

UPDATES: list[Operation] = [
    get("device-update", by_device=True),
    Operation(
        "update-results",
        "POST",
        body=lambda names: {
            "update_id": int(names["update_id"]),
            "status": "failed",
            "failure_class": "space",
            "error": f"{names['word']} is full",
        },
        entries=(Entry("update.failed", "deviceupdate", "update_id"),),
        by_device=True,
    ),
    get("device-updates"),
    get("device-timeline"),
    get("update", path=PK),
]
