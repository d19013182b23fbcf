from django.urls import path

from devices import converters  # noqa: F401 - makes <device:…> known
from gateway.native import register, views

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
    path("commands/<uuid:pk>", views.CommandDetail.as_view(), name="command"),
    path("commands/<uuid:pk>/bundle", views.BundleUpload.as_view(), name="command-bundle"),
]
