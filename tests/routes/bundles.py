"""Support bundles: what devices send of them, and what people see."""

import hashlib

from tests.routes.shapes import Entry, Operation, get

PK = {"pk": "bundle_id"}
WAITING = {"pk": "bundle_command_id"}
ARCHIVE = b"an archive"

BUNDLES = [
    get("command-bundle", path={"pk": "sent_command_id"}, by_device=True),
    Operation(
        "command-bundle",
        "POST",
        status=201,
        path=WAITING,
        body=lambda _: ARCHIVE,
        content_type="application/gzip",
        entries=(Entry("bundle.receive", "supportbundle"),),
        by_device=True,
    ),
    Operation(
        "command-bundle-parts",
        "PUT",
        path=WAITING,
        query={"offset": "0"},
        headers={
            "X-Upload-Size": str(len(ARCHIVE)),
            "X-Upload-SHA256": hashlib.sha256(ARCHIVE).hexdigest(),
        },
        body=lambda _: ARCHIVE,
        content_type="application/octet-stream",
        entries=(Entry("bundle.receive", "supportbundle"),),
        by_device=True,
    ),
    get("bundles"),
    get("bundle", path=PK),
    get("bundle-files", path=PK),
    get("bundle-search", path=PK),
    get("bundle-compare", path=PK),
    get(
        "bundle-download",
        path=PK,
        entries=(Entry("bundle.download", "supportbundle", "bundle_id"),),
    ),
]
