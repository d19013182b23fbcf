from django.urls import path

from devices import converters  # noqa: F401 - makes <device:…> known
from gateway.native import attempts, bundles, register, trust, views

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
    path("trust/metadata/<str:name>", trust.TrustMetadataFile.as_view(), name="trust-metadata"),
    path("trust/targets/<path:path>", trust.TrustTargetFile.as_view(), name="trust-target"),
]
