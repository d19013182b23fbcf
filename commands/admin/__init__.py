"""Commands in the admin: the list, one command, queueing in bulk, support bundles."""

from commands.admin.batches import CommandBatchAdmin
from commands.admin.bundles import SupportBundleAdmin
from commands.admin.commands import CommandAdmin
from commands.admin.library import CommandTemplateAdmin, ScriptAdmin

__all__ = [
    "CommandAdmin",
    "CommandBatchAdmin",
    "CommandTemplateAdmin",
    "ScriptAdmin",
    "SupportBundleAdmin",
]
