"""The audit log."""

from tests.routes.shapes import Entry, get

GOVERNANCE = [
    # Who is limited to some groups would read here about devices of the others.
    get("audits", expect={"limited": 403}),
    get("audits-csv", entries=(Entry("audit.export"),), expect={"limited": 403}),
]
