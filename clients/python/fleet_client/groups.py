"""Each set of endpoints twice: for the blocking client and for the awaited one."""

from __future__ import annotations

from fleet_client.binding import AwaitingGroup, BlockingGroup
from fleet_client.endpoints.access import (
    ApiKeyEndpoints,
    EnrollmentTokenEndpoints,
    ServiceEndpoints,
)
from fleet_client.endpoints.audits import AuditEndpoints
from fleet_client.endpoints.batches import BatchEndpoints
from fleet_client.endpoints.bundles import BundleEndpoints
from fleet_client.endpoints.commands import CommandEndpoints
from fleet_client.endpoints.devices import DeviceEndpoints
from fleet_client.endpoints.library import ScriptEndpoints, TemplateEndpoints
from fleet_client.endpoints.releases import ReleaseEndpoints
from fleet_client.endpoints.rollouts import RolloutEndpoints
from fleet_client.endpoints.updates import UpdateEndpoints


class Service(ServiceEndpoints, BlockingGroup):
    """The portal itself, and who the caller is."""


class AsyncService(ServiceEndpoints, AwaitingGroup):
    """The portal itself, and who the caller is."""


class Devices(DeviceEndpoints, BlockingGroup):
    """Devices and what they said."""


class AsyncDevices(DeviceEndpoints, AwaitingGroup):
    """Devices and what they said."""


class Commands(CommandEndpoints, BlockingGroup):
    """Commands, from queueing to their end."""


class AsyncCommands(CommandEndpoints, AwaitingGroup):
    """Commands, from queueing to their end."""


class Batches(BatchEndpoints, BlockingGroup):
    """One order to many devices."""


class AsyncBatches(BatchEndpoints, AwaitingGroup):
    """One order to many devices."""


class Bundles(BundleEndpoints, BlockingGroup):
    """Support bundles and what was found in them."""


class AsyncBundles(BundleEndpoints, AwaitingGroup):
    """Support bundles and what was found in them."""


class Releases(ReleaseEndpoints, BlockingGroup):
    """Releases, from the first draft to the withdrawal."""


class AsyncReleases(ReleaseEndpoints, AwaitingGroup):
    """Releases, from the first draft to the withdrawal."""


class Rollouts(RolloutEndpoints, BlockingGroup):
    """How a release reaches its devices."""


class AsyncRollouts(RolloutEndpoints, AwaitingGroup):
    """How a release reaches its devices."""


class Updates(UpdateEndpoints, BlockingGroup):
    """What became of updates."""


class AsyncUpdates(UpdateEndpoints, AwaitingGroup):
    """What became of updates."""


class Scripts(ScriptEndpoints, BlockingGroup):
    """Signed scripts."""


class AsyncScripts(ScriptEndpoints, AwaitingGroup):
    """Signed scripts."""


class Templates(TemplateEndpoints, BlockingGroup):
    """Commands saved to use again."""


class AsyncTemplates(TemplateEndpoints, AwaitingGroup):
    """Commands saved to use again."""


class Audits(AuditEndpoints, BlockingGroup):
    """Who did what."""


class AsyncAudits(AuditEndpoints, AwaitingGroup):
    """Who did what."""


class EnrollmentTokens(EnrollmentTokenEndpoints, BlockingGroup):
    """What lets devices in."""


class AsyncEnrollmentTokens(EnrollmentTokenEndpoints, AwaitingGroup):
    """What lets devices in."""


class ApiKeys(ApiKeyEndpoints, BlockingGroup):
    """Keys of programs."""


class AsyncApiKeys(ApiKeyEndpoints, AwaitingGroup):
    """Keys of programs."""
