"""Signed metadata, the keys behind it, and what waits for signatures."""

from tests.routes.shapes import Entry, Operation, get

DRAFT = {"role": "draft_role"}

TRUST: list[Operation] = [
    get("trust-metadata", path={"name": "metadata_name"}),
    get("trust-target", path={"path": "target_path"}),
    get("trust-status"),
    get("trust-draft", path=DRAFT),
    Operation(
        "trust-draft",
        "POST",
        path=DRAFT,
        body=lambda names: {
            "signatures": [{"keyid": names["signature_key"], "sig": names["signature"]}]
        },
        entries=(Entry("trust.sign", "trustdraft", "draft_id"),),
    ),
]
