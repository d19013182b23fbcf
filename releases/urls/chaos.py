from typing import Any

from django.urls import path

from releases.api import chaos

CHAOS: list[Any] = [
    path("test/fail-update", chaos.FailUpdate.as_view(), name="test-fail-update"),
    path("test/false-success", chaos.FalseSuccess.as_view(), name="test-false-success"),
    path("test/offline", chaos.Offline.as_view(), name="test-offline"),
]
