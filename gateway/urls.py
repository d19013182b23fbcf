from django.urls import path

from devices import converters  # noqa: F401 - makes <device:…> known
from gateway.native import attempts, bundles, recovery, register, telemetry, views

urlpatterns = [
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
    path("commands/<uuid:pk>", attempts.CommandDetail.as_view(), name="command"),
    path("commands/<uuid:pk>/renew", attempts.RenewCommand.as_view(), name="command-renew"),
    path("commands/<uuid:pk>/output", attempts.CommandPieces.as_view(), name="command-output"),
    path("commands/<uuid:pk>/script", attempts.CommandScript.as_view(), name="command-script"),
    path("commands/<uuid:pk>/bundle", bundles.BundleUpload.as_view(), name="command-bundle"),
    path(
        "commands/<uuid:pk>/bundle/parts", bundles.BundlePart.as_view(), name="command-bundle-parts"
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
]
