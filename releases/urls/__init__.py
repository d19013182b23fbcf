"""Paths of releases, subject by subject."""

from typing import Any

from releases.urls.recovery import RECOVERY
from releases.urls.releases import RELEASES
from releases.urls.rollouts import ROLLOUTS
from releases.urls.trust import TRUST
from releases.urls.updates import UPDATES

urlpatterns: list[Any] = [*RELEASES, *TRUST, *ROLLOUTS, *UPDATES, *RECOVERY]
