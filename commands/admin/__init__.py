"""Commands in the admin: the list, one command, queueing in bulk, support bundles."""

from commands.admin.bundles import SupportBundleAdmin
from commands.admin.commands import CommandAdmin

__all__ = ["CommandAdmin", "SupportBundleAdmin"]
