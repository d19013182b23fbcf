from django.urls import path

from devices import converters  # noqa: F401 - makes <device:…> known
from devices.api import drift, enrollment, history, views

urlpatterns = [
    path("enrollment-tokens", enrollment.EnrollmentTokens.as_view(), name="enrollment-tokens"),
    path(
        "enrollment-tokens/<uuid:pk>",
        enrollment.EnrollmentTokenDetail.as_view(),
        name="enrollment-token",
    ),
    path("device-groups", enrollment.DeviceGroups.as_view(), name="device-groups"),
    path("device-groups/<uuid:pk>", enrollment.DeviceGroupDetail.as_view(), name="device-group"),
    path(
        "device-groups/<uuid:pk>/grants/<uuid:user_id>",
        enrollment.GroupGrant.as_view(),
        name="device-group-grant",
    ),
    path("devices", views.Devices.as_view(), name="devices"),
    path("devices/<device:device_id>", views.DeviceDetail.as_view(), name="device"),
    path("devices/<device:device_id>/status", views.DeviceStatus.as_view(), name="device-status"),
    path("devices/<device:device_id>/accept", views.AcceptDevice.as_view(), name="device-accept"),
    path("devices/<device:device_id>/reject", views.RejectDevice.as_view(), name="device-reject"),
    path(
        "devices/<device:device_id>/heartbeats",
        history.Heartbeats.as_view(),
        name="device-heartbeats",
    ),
    path("devices/<device:device_id>/events", history.Events.as_view(), name="device-events"),
    path("devices/<device:device_id>/metrics", history.Metrics.as_view(), name="device-metrics"),
    path("devices/<device:device_id>/drift", drift.DeviceDrift.as_view(), name="device-drift"),
    path("drift", drift.DriftReports.as_view(), name="drift"),
    path("drift/<uuid:pk>", drift.DriftDetail.as_view(), name="drift-report"),
]
