"""Rows of releases and rollouts, as paths name them."""

from django.http import Http404

from accounts.api.base import visible_or_404
from accounts.principals import Principal
from releases.models import Release, Rollout
from releases.selectors import named


def release_or_404(principal: Principal, name: str) -> Release:
    """Return the visible release of this version or id, or raise 404."""
    visible = Release.objects.visible_to(principal).select_related("organization")
    release: Release | None = named(visible, name).first()
    if release is None:
        raise Http404
    return release


def rollout_or_404(principal: Principal, pk: str) -> Rollout:
    """Return the visible rollout or raise 404."""
    rows = Rollout.objects.select_related("organization", "release")
    found: Rollout = visible_or_404(rows, principal, pk=pk)
    return found
