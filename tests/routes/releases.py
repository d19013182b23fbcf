"""Releases, bundles, and how they are trusted."""

import hashlib

from releases.tests.bundles import bundle
from tests.routes.shapes import Entry, Operation, get

COMMIT = "a" * 40
DRAFT = {"version": "draft_version"}
READY = {"version": "version"}
BUNDLE = {"role": "role", "release": "version"}
ARCHIVE = bundle()

RELEASES: list[Operation] = [
    get("releases"),
    Operation(
        "releases",
        "POST",
        status=201,
        body=lambda names: {"version": names["new_version"], "commit": COMMIT},
        also=(
            lambda names: {"version": names["version"], "commit": COMMIT},
            lambda names: {
                "version": names["new_version"],
                "commit": COMMIT,
                "roles": [names["role"]],
            },
        ),
        entries=(Entry("release.create", "release"),),
    ),
    get("releases-latest"),
    get("release", path=READY),
    Operation(
        "release",
        "PATCH",
        path=DRAFT,
        body=lambda _: {"changelog": "changed"},
        entries=(Entry("release.update", "release", "draft_release_id"),),
    ),
    Operation(
        "release",
        "DELETE",
        status=204,
        path=DRAFT,
        entries=(Entry("release.delete", "release", "draft_release_id"),),
    ),
    Operation(
        "release-validate",
        "POST",
        path=DRAFT,
        entries=(Entry("release.validate", "release", "draft_release_id"),),
    ),
    Operation(
        "release-publish",
        "POST",
        path={"version": "validated_version"},
        entries=(
            Entry("trust.list", "release", "validated_release_id"),
            Entry("release.publish", "release", "validated_release_id"),
        ),
    ),
    Operation(
        "release-withdraw",
        "POST",
        path=READY,
        body=lambda _: {"reason": "it leaks"},
        entries=(
            Entry("trust.unlist", "release", "release_id"),
            Entry("release.withdraw", "release", "release_id"),
        ),
    ),
    get("release-bundle", path={**DRAFT, "role": "role"}),
    Operation(
        "release-bundle",
        "POST",
        status=201,
        path={**DRAFT, "role": "role"},
        body=lambda _: ARCHIVE,
        content_type="application/gzip",
        entries=(Entry("artifact.store", "artifact"),),
    ),
    Operation(
        "release-parts",
        "PUT",
        path={**DRAFT, "role": "role"},
        query={"offset": "0"},
        headers={
            "X-Upload-Size": str(len(ARCHIVE)),
            "X-Upload-SHA256": hashlib.sha256(ARCHIVE).hexdigest(),
        },
        body=lambda _: ARCHIVE,
        content_type="application/octet-stream",
        entries=(Entry("artifact.store", "artifact"),),
    ),
    Operation(
        "artifacts-validate",
        "POST",
        body=lambda _: ARCHIVE,
        content_type="application/gzip",
        unlogged="nothing is kept",
    ),
    get("artifacts-retention", expect={"outsider": 403}),
    get("artifact-bundle", path=BUNDLE),
    get("artifact-checksums", path=BUNDLE),
    get("artifact-manifest", path=BUNDLE),
]
