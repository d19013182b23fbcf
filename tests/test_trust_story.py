"""A device and the portal agree on whom to believe: the agent's own code against the real doors."""

from pathlib import Path

import pytest

from accounts.models import Organization
from common import clock
from devices.models import Device
from devices.tests.factories import token_of
from fleet_agent.portal import PortalClient
from fleet_agent.settings import ConfigStore
from fleet_agent.updates.manifest import Installed, Offered
from fleet_agent.updates.trust import TrustStore
from fleet_agent.updates.trust_errors import TrustError
from releases.models import Artifact, Release
from releases.services.manifests import manifests_publish, manifests_withdraw
from releases.tests.factories import ArtifactFactory, ReleaseFactory, published
from releases.tests.trust import held, sign
from tests.doors import Doors

pytestmark = pytest.mark.django_db
FILES = [{"path": "hooks/start", "sha256": "ab" * 32, "size": 12, "mode": 0o755}]


def published_release(organization: Organization, version: str, counter: int) -> Release:
    release = ReleaseFactory(organization=organization, version=version, roles=["kiosk + bar"])
    ArtifactFactory(release=release, role="kiosk + bar", files=FILES)
    release = published(release, counter=counter)
    manifests_publish(release=release, actor=None, now=clock.now())
    return release


def refused(store: TrustStore, path: str, **fields) -> str:
    with pytest.raises(TrustError) as refusal:
        store.manifest(path, **fields)
    return refusal.value.code


def test_a_device_believes_what_its_organization_signed_and_nothing_else(
    tmp_path: Path, organization: Organization, device: Device
):
    conf = tmp_path / "fleet.conf"
    conf.write_text(
        f"FLEET_URL=http://testserver\nDEVICE_ID={device.device_id}\n"
        f"DEVICE_TOKEN={token_of(device)}\n"
    )
    portal = PortalClient(ConfigStore(conf))
    portal._session.mount("http://", Doors())
    general = TrustStore(tmp_path / "general", portal, "general")
    staged = TrustStore(tmp_path / "staged", portal, "staged")
    path = "{}/kiosk + bar/1.0.0+a/manifest.json".format

    assert refused(general, path("general")) == "not_found"
    release = published_release(organization, "1.0.0+a", 1)
    artifact: Artifact = release.artifacts.get()
    offered = Offered("1.0.0+a", release.commit, "kiosk + bar", artifact.size, artifact.sha256)
    manifest = general.manifest(path("general"), offered=offered)
    assert manifest.organization == organization.slug
    assert manifest.release_id == str(release.pk)
    assert [(file.path, file.mode) for file in manifest.files] == [("hooks/start", 0o755)]
    assert staged.manifest(path("staged"), offered=offered).counter == 1

    # Both pinned the portal's own root; the ceremony takes them along.
    held(organization)
    second = published_release(organization, "1.1.0", 2)
    newer = "{}/kiosk + bar/1.1.0/manifest.json".format
    assert staged.manifest(newer("staged")).version == "1.1.0"
    assert refused(general, newer("general")) == "not_found"
    sign(organization, "general", "dan", "fay")
    assert general.manifest(newer("general")).version == "1.1.0"
    assert refused(general, path("general"), installed=Installed(counter=2)) == "rollback"

    manifests_withdraw(release=second, actor=None, now=clock.now())
    assert refused(staged, newer("staged")) == "not_found"
    portal.close()
