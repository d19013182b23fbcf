"""How the files on this device differ from what was deployed, and putting them back."""

from __future__ import annotations

from typing import Any, Optional

from fleet_agent.drift import AcceptedState
from fleet_agent.settings import ConfigStore
from fleet_agent.updates.deployment import Deployment
from fleet_agent.updates.errors import INSTALL, UpdateFailedError
from fleet_agent.updates.unpack import check_bundle, differences, extract, spoilt

Item = dict[str, Optional[str]]


def release_drift(deployment: Deployment) -> tuple[str, list[Item]]:
    """Return the version that runs and how its files differ from its manifest.

    Raises OSError when they cannot be read.
    """
    while True:
        running = deployment.running()
        if running is None:
            return "", []
        found = differences(deployment.releases.folder(running.release_id), running)
        if deployment.running() == running:
            return running.version, found


def all_drift(store: ConfigStore, deployment: Deployment) -> tuple[str, list[Item]]:
    """Return the version that runs, and what differs in the release and the watched files."""
    version, items = release_drift(deployment)
    return version, items + AcceptedState(store.state_dir).differences(store.watched_paths)


def repair(deployment: Deployment, paths: Optional[list[str]]) -> dict[str, Any]:
    """Put files of the release back, those named or all that differ; return what became of each.

    Whoever calls holds the deployment's lock. Raises UpdateFailedError, OSError.
    """
    running = deployment.running()
    if running is None:
        raise UpdateFailedError(INSTALL, "no_release", "No release is installed on this device.")
    releases = deployment.releases
    folder, bundle = releases.folder(running.release_id), releases.bundle(running.release_id)
    found = differences(folder, running)
    wanted = spoilt(found)
    if paths is not None:
        wanted &= set(paths)
    if wanted:
        if not bundle.exists():
            raise UpdateFailedError(
                INSTALL,
                "no_bundle",
                "The bundle of the release is not kept on this device. Deploy the release again.",
            )
        check_bundle(bundle, running)
        extract(bundle, running, wanted, folder)
    return {
        "release": running.version,
        "repaired": sorted(wanted),
        # Nobody knows what they are; they may be the application's own.
        "left": sorted(str(item["path"]) for item in found if item["kind"] == "added")[:100],
        "remaining": len(differences(folder, running)),
    }
