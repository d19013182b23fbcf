from typing import Any

from django.urls import path

from releases.api import trust

TRUST: list[Any] = [
    path("trust/status", trust.TrustStatusView.as_view(), name="trust-status"),
    path("trust/drafts/<slug:role>", trust.TrustDraftView.as_view(), name="trust-draft"),
]
