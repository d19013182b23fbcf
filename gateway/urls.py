from django.urls import path

from devices import converters  # noqa: F401 - makes <device:…> known
from gateway.native import (
    artifacts,
    attempts,
    bundles,
    eligibility,
    recovery,
    register,
    stream,
    telemetry,
    trust,
    updates,
    views,
)
from releases import converters as release_words  # noqa: F401 - makes <version:…> known

urlpatterns = [
    path("stream", stream.PeopleStream.as_view(), name="stream"),
    path("devices/register", register.Register.as_view(), name="device-register"),
    path(
        "devices/<device:device_id>/config", views.DeviceConfigView.as_view(), name="device-config"
    ),
    path(
        "devices/<device:device_id>/token/rotate",
        views.RotateToken.as_view(),
        name="device-token-rotate",
    ),
    path(
        "devices/<device:device_id>/commands",
        views.DeviceCommands.as_view(),
        name="device-commands",
    ),
    path(
        "releases/<version:version>/eligibility/<device:device_id>",
        eligibility.Eligibility.as_view(),
        name="release-eligibility",
    ),
    path("devices/<device:device_id>/update", updates.DeviceOffer.as_view(), name="device-update"),
    path("telemetry/update-results", updates.UpdateResults.as_view(), name="update-results"),
    path("commands/<uuid:pk>", attempts.CommandDetail.as_view(), name="command"),
    path("commands/<uuid:pk>/renew", attempts.RenewCommand.as_view(), name="command-renew"),
    path("commands/<uuid:pk>/output", attempts.CommandPieces.as_view(), name="command-output"),
    path("commands/<uuid:pk>/script", attempts.CommandScript.as_view(), name="command-script"),
    path("commands/<uuid:pk>/bundle", bundles.BundleUpload.as_view(), name="command-bundle"),
    path(
        "commands/<uuid:pk>/bundle/parts", bundles.BundlePart.as_view(), name="command-bundle-parts"
    ),
    path(
        "artifacts/<role:role>/<version:release>/bundle",
        artifacts.ArtifactBundle.as_view(),
        name="artifact-bundle",
    ),
    path(
        "artifacts/<role:role>/<version:release>/checksums",
        artifacts.ArtifactChecksums.as_view(),
        name="artifact-checksums",
    ),
    path(
        "artifacts/<role:role>/<version:release>/manifest",
        artifacts.ArtifactManifest.as_view(),
        name="artifact-manifest",
    ),
    path("telemetry/drift", telemetry.DriftTelemetry.as_view(), name="telemetry-drift"),
    path("recovery/<device:device_id>", recovery.Recovery.as_view(), name="recovery"),
    path(
        "recovery/<device:device_id>/enter",
        recovery.EnterRecovery.as_view(),
        name="recovery-enter",
    ),
    path(
        "recovery/<device:device_id>/diagnostics",
        recovery.Diagnostics.as_view(),
        name="recovery-diagnostics",
    ),
    path("trust/metadata/<str:name>", trust.TrustMetadataFile.as_view(), name="trust-metadata"),
    path("trust/targets/<path:path>", trust.TrustTargetFile.as_view(), name="trust-target"),
]
