"""The manifest of a bundle: what a device checks before and after it installs a release."""

import json
from datetime import timedelta
from typing import Any

from common import limits
from releases.models import Artifact, Release

FORMAT = 1


def manifest_of(*, release: Release, artifact: Artifact, organization: str) -> bytes:
    """Return the manifest as the bytes that are signed; the release counts as published.

    `organization` is its slug. The same for every path of trust.
    """
    published = release.published_at
    if published is None or release.counter is None:
        raise ValueError("only a published release has a manifest")
    compose = None
    if artifact.compose_path:
        compose = {"path": artifact.compose_path, "sha256": artifact.compose_sha256}
    record: dict[str, Any] = {
        "format": FORMAT,
        "organization": organization,
        "release_id": str(release.pk),
        "version": release.version,
        "commit": release.commit,
        "counter": release.counter,
        "role": artifact.role_name,
        "channel": release.channel,
        "feature_flags": release.feature_flags,
        "required_migration": release.required_migration,
        "created_at": published.isoformat(timespec="seconds"),
        "expires": (published + timedelta(days=limits.MANIFEST_DAYS)).isoformat(timespec="seconds"),
        "bundle": {"size": artifact.size, "sha256": artifact.sha256},
        "compose": compose,
        "files": artifact.files,
    }
    return json.dumps(record, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
