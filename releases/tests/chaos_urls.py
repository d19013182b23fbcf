"""The paths of a portal with hooks switched on."""

from django.urls import include, path

from fleetsite.urls import urlpatterns as ordinary
from releases.urls.chaos import CHAOS

urlpatterns = [path("api/v1/", include(CHAOS)), *ordinary]
