"""Every path of the site. The gateway's own paths never reach Django."""

from typing import Any

from allauth.account import views as account_views
from django.contrib import admin
from django.db import transaction
from django.urls import include, path
from django.views.generic import RedirectView
from django_prometheus.exports import ExportToDjangoView
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerView
from prometheus_client import REGISTRY

from fleetsite import service
from fleetsite.errors_page import errors_page
from fleetsite.metrics import FleetCollector

admin.autodiscover()

REGISTRY.register(FleetCollector())

api: list[Any] = [
    path("status", service.Status.as_view(), name="service-status"),
    path("metrics", service.Metrics.as_view(), name="service-metrics"),
    path("system-info", service.SystemInfo.as_view(), name="service-system-info"),
    path("", include("accounts.urls")),
    path("", include("gateway.urls")),
    path("", include("devices.urls")),
    path("", include("commands.urls")),
    path("", include("releases.urls")),
    path("", include("governance.urls")),
]

accounts: list[Any] = [
    path("login/", account_views.login, name="account_login"),
    path("logout/", account_views.logout, name="account_logout"),
    path("password/change/", account_views.password_change, name="account_change_password"),
    path("reauthenticate/", account_views.reauthenticate, name="account_reauthenticate"),
    path("2fa/", include("allauth.mfa.urls")),
]

urlpatterns = [
    path("health", service.health, name="health"),
    path("ready", service.ready, name="ready"),
    # Answers even when the database does not.
    path("metrics", transaction.non_atomic_requests(ExportToDjangoView), name="metrics"),
    path("schema", SpectacularAPIView.as_view(), name="schema"),
    path("docs/errors", errors_page, name="docs-errors"),
    path("docs", SpectacularSwaggerView.as_view(url_name="schema"), name="docs"),
    path("api/v1/", include(api)),
    path("accounts/", include(accounts)),
    path("", include("console.urls")),
    path("admin/", admin.site.urls),
    path("", RedirectView.as_view(pattern_name="admin:index"), name="home"),
]

handler404 = "fleetsite.errors.not_found"
handler500 = "fleetsite.errors.server_error"
