from django.contrib import admin
from django.urls import path

from console.views import (
    add_device,
    agent,
    bundle,
    device,
    device_verbs,
    organization,
    system,
    trust,
    updates,
)

app_name = "console"
wrap = admin.site.admin_view

urlpatterns = [
    path("agent/fleet-agent.service", agent.unit, name="agent-unit"),
    path("agent/<str:name>", agent.wheel, name="agent-wheel"),
    path("console/organization", wrap(organization.settings), name="organization"),
    path("console/organization/switch", wrap(organization.switch), name="switch"),
    path("console/system", wrap(system.status), name="system"),
    path("console/add-device", wrap(add_device.add_device), name="add-device"),
    path("console/add-device/<uuid:pk>/arrivals", wrap(add_device.arrivals), name="arrivals"),
    path("console/devices/<uuid:pk>", wrap(device.overview), name="device"),
    path("console/devices/<uuid:pk>/live", wrap(device.live), name="device-live"),
    path("console/devices/<uuid:pk>/chart", wrap(device.chart), name="device-chart"),
    path("console/devices/<uuid:pk>/heartbeats", wrap(device.heartbeats), name="device-heartbeats"),
    path("console/devices/<uuid:pk>/commands", wrap(device.commands), name="device-commands"),
    path(
        "console/devices/<uuid:pk>/commands/live",
        wrap(device.commands_live),
        name="device-commands-live",
    ),
    path("console/devices/<uuid:pk>/updates", wrap(updates.of_device), name="device-updates"),
    path("console/versions", wrap(updates.versions), name="versions"),
    path("console/trust", wrap(trust.keys), name="trust"),
    path("console/trust/drafts/<uuid:pk>", wrap(trust.draft), name="trust-draft"),
    path("console/trust/drafts/<uuid:pk>/sign", wrap(trust.sign), name="trust-sign"),
    path("console/devices/<uuid:pk>/events", wrap(device.events), name="device-events"),
    path("console/devices/<uuid:pk>/audit", wrap(device.audit), name="device-audit"),
    path("console/devices/<uuid:pk>/bundles", wrap(bundle.of_device), name="device-bundles"),
    path("console/bundles/<uuid:pk>", wrap(bundle.overview), name="bundle"),
    path("console/bundles/<uuid:pk>/file", wrap(bundle.file), name="bundle-file"),
    path("console/bundles/<uuid:pk>/search", wrap(bundle.search), name="bundle-search"),
    path("console/bundles/<uuid:pk>/redactions", wrap(bundle.redactions), name="bundle-redactions"),
    path("console/bundles/<uuid:pk>/compare", wrap(bundle.compare), name="bundle-compare"),
    path("console/devices/<uuid:pk>/do/<slug:verb>", wrap(device_verbs.act), name="device-act"),
]
