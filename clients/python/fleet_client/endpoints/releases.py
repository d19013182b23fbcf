"""Releases, from the first draft to the withdrawal."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import Any, Optional, Union

from fleet_client.binding import Group, endpoint, listing
from fleet_client.core import Core, given, segment
from fleet_client.download import Progress, fetched
from fleet_client.models import Artifact, Eligibility, Release, Rollout
from fleet_client.records import Page
from fleet_client.steps import Flow, Items
from fleet_client.upload import sent


def release_path(version: str, rest: str = "") -> str:
    """Return the path of a release, or of something below it."""
    return f"/releases/{segment(version)}{rest}"


def rolled(
    core: Core, version: str, verb: str, *, key: Optional[str], **members: Any
) -> Flow[Rollout]:
    """Apply a verb to the release's rollout."""
    path = release_path(version, f"/{verb}")
    return core.read(Rollout, "POST", path, body=given(**members), key=key)


class ReleaseEndpoints(Group):
    """`client.releases`. A release is named by its version or its id."""

    @endpoint
    def list(self, /, **filters: Any) -> Flow[Page[Release]]:
        """Return one page, newest first."""
        return self.core.page(Release, "/releases", params=filters)

    @listing
    def iterate(self, /, **filters: Any) -> Items[Release]:
        """Give every release, newest first."""
        return self.core.pages(Release, "/releases", params=filters)

    @endpoint
    def get(self, version: str) -> Flow[Release]:
        """Return a release with what its last validation found."""
        return self.core.read(Release, "GET", release_path(version))

    @endpoint
    def latest(self, *, role: Optional[str] = None, channel: Optional[str] = None) -> Flow[Release]:
        """Return the release published last for a role in a channel."""
        params = given(role=role, channel=channel)
        return self.core.read(Release, "GET", "/releases/latest", params=params)

    @endpoint
    def create(
        self, /, version: str, commit: str, *, idempotency_key: Optional[str] = None, **members: Any
    ) -> Flow[Release]:
        """Declare a release: `roles`, `channel`, `changelog`, `feature_flags`, …"""
        body = {"version": version, "commit": commit, **given(**members)}
        return self.core.read(Release, "POST", "/releases", body=body, key=idempotency_key)

    @endpoint
    def upload(
        self,
        version: str,
        path: Union[str, PathLike[str]],
        *,
        role: str = "any",
        on_progress: Optional[Progress] = None,
    ) -> Flow[Artifact]:
        """Send the bundle of a role, a tar.gz, in parts; a broken upload is continued."""
        place = release_path(version, f"/artifacts/{segment(role)}")
        return sent(
            self.core,
            Artifact,
            state_path=f"{place}/bundle",
            parts_path=f"{place}/parts",
            source=Path(path),
            on_progress=on_progress,
        )

    @endpoint
    def download(
        self,
        version: str,
        path: Union[str, PathLike[str]],
        *,
        role: str = "any",
        on_progress: Optional[Progress] = None,
    ) -> Flow[Path]:
        """Write a bundle; `path` appears when it is whole. A broken download is continued."""
        place = f"/artifacts/{segment(role)}/{segment(version)}/bundle"
        return fetched(
            self.core, place, Path(path), tag=f"{role}-{version}", on_progress=on_progress
        )

    @endpoint
    def validate(self, version: str, *, idempotency_key: Optional[str] = None) -> Flow[Release]:
        """Have every bundle checked; `state` is validated when `findings` holds no error."""
        path = release_path(version, "/validate")
        return self.core.read(Release, "POST", path, key=idempotency_key)

    @endpoint
    def publish(self, version: str, *, idempotency_key: Optional[str] = None) -> Flow[Release]:
        """Make a validated release final."""
        path = release_path(version, "/publish")
        return self.core.read(Release, "POST", path, key=idempotency_key)

    @endpoint
    def withdraw(
        self, version: str, reason: str, *, idempotency_key: Optional[str] = None
    ) -> Flow[Release]:
        """Let no device get a release any more."""
        path = release_path(version, "/withdraw")
        return self.core.read(Release, "POST", path, body={"reason": reason}, key=idempotency_key)

    @endpoint
    def eligibility(self, version: str, device_id: str) -> Flow[Eligibility]:
        """Return every gate between a device and a release, and when it can change."""
        path = release_path(version, f"/eligibility/{segment(device_id)}")
        return self.core.read(Eligibility, "GET", path)

    @endpoint
    def promote(
        self,
        version: str,
        segment: Optional[str] = None,
        *,
        percentage: Optional[int] = None,
        reason: Optional[str] = None,
        idempotency_key: Optional[str] = None,
    ) -> Flow[Rollout]:
        """Promote its rollout; to canary the portal makes and starts the usual one."""
        return rolled(
            self.core,
            version,
            "promote",
            targetSegment=segment,
            rolloutPercentage=percentage,
            reason=reason,
            key=idempotency_key,
        )

    @endpoint
    def pause(
        self, version: str, *, reason: Optional[str] = None, idempotency_key: Optional[str] = None
    ) -> Flow[Rollout]:
        """Pause its rollout."""
        return rolled(self.core, version, "pause", reason=reason, key=idempotency_key)

    @endpoint
    def resume(
        self, version: str, *, reason: Optional[str] = None, idempotency_key: Optional[str] = None
    ) -> Flow[Rollout]:
        """Let its rollout go on; from a halt only with a reason."""
        return rolled(self.core, version, "resume", reason=reason, key=idempotency_key)

    @endpoint
    def rollback(
        self, version: str, *, reason: str, idempotency_key: Optional[str] = None
    ) -> Flow[Rollout]:
        """Bring every device its rollout has updated back; say why."""
        return rolled(self.core, version, "rollback", reason=reason, key=idempotency_key)
