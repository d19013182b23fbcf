"""Releases in the admin: releases, rollouts, updates, calendars, drift."""

from releases.admin.calendars import SiteCalendarAdmin
from releases.admin.releases import ReleaseAdmin
from releases.admin.rollouts import RolloutAdmin
from releases.admin.updates import DeviceUpdateAdmin

__all__ = ["DeviceUpdateAdmin", "ReleaseAdmin", "RolloutAdmin", "SiteCalendarAdmin"]
