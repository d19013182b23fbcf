"""Paths of releases, subject by subject."""

from typing import Any

from django.conf import settings

from releases.urls.chaos import CHAOS
from releases.urls.recovery import RECOVERY
from releases.urls.releases import RELEASES
from releases.urls.rollouts import ROLLOUTS
from releases.urls.trust import TRUST
from releases.urls.updates import UPDATES

urlpatterns: list[Any] = [*RELEASES, *TRUST, *ROLLOUTS, *UPDATES, *RECOVERY]
if settings.CHAOS_HOOKS:
    urlpatterns += CHAOS
