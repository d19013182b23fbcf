"""Who may do what: the one table permissions, the admin, the docs and a test are derived from."""

from enum import StrEnum

from django.db import models


class Role(models.TextChoices):
    """What a person or an API key is in an organisation."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"


# The device itself: not a role anybody can be given.
DEVICE = "device"


class Action(StrEnum):
    """What can be done, noun first."""

    ORGANIZATION_CREATE = "organization.create"
    ORGANIZATION_READ = "organization.read"
    ORGANIZATION_UPDATE = "organization.update"
    USER_READ = "user.read"
    USER_MANAGE = "user.manage"
    API_KEY_MANAGE = "api_key.manage"
    ENROLLMENT_TOKEN_MANAGE = "enrollment_token.manage"  # noqa: S105 - a name, not a secret

    DEVICE_READ = "device.read"
    DEVICE_REGISTER = "device.register"
    DEVICE_UPDATE = "device.update"
    DEVICE_ACCEPT = "device.accept"
    DEVICE_RETIRE = "device.retire"
    DEVICE_ROTATE = "device.rotate"
    DEVICE_CONFIG = "device.config"
    HEARTBEAT_SEND = "heartbeat.send"
    GROUP_READ = "group.read"
    GROUP_MANAGE = "group.manage"

    COMMAND_READ = "command.read"
    COMMAND_INSPECT = "command.inspect"
    COMMAND_CREATE = "command.create"
    COMMAND_CANCEL = "command.cancel"
    COMMAND_REPORT = "command.report"
    BATCH_APPROVE = "batch.approve"
    SCRIPT_READ = "script.read"
    SCRIPT_MANAGE = "script.manage"
    TEMPLATE_READ = "template.read"
    TEMPLATE_MANAGE = "template.manage"
    BUNDLE_READ = "bundle.read"

    RELEASE_READ = "release.read"
    RELEASE_MANAGE = "release.manage"
    ROLLOUT_READ = "rollout.read"
    ROLLOUT_MANAGE = "rollout.manage"
    ROLLOUT_STOP = "rollout.stop"
    ROLLOUT_APPROVE = "rollout.approve"
    ELIGIBILITY_READ = "eligibility.read"
    ARTIFACT_READ = "artifact.read"
    TRUST_READ = "trust.read"
    TRUST_MANAGE = "trust.manage"
    UPDATE_READ = "update.read"
    UPDATE_FETCH = "update.fetch"
    UPDATE_REPORT = "update.report"
    DRIFT_READ = "drift.read"
    DRIFT_REPORT = "drift.report"
    DRIFT_REPAIR = "drift.repair"
    RECOVERY_READ = "recovery.read"
    RECOVERY_ENTER = "recovery.enter"
    RECOVERY_OPERATE = "recovery.operate"
    RECOVERY_REPORT = "recovery.report"
    CALENDAR_READ = "calendar.read"
    CALENDAR_MANAGE = "calendar.manage"
    CHAOS_USE = "chaos.use"

    AUDIT_READ = "audit.read"
    SYSTEM_READ = "system.read"


_ALL = frozenset({Role.VIEWER, Role.OPERATOR, Role.ADMIN})
_OPERATE = frozenset({Role.OPERATOR, Role.ADMIN})
_ADMIN = frozenset({Role.ADMIN})
_DEVICE = frozenset({DEVICE})

# What belongs to no role: owners of the installation do it.
OWNERS = frozenset({Action.ORGANIZATION_CREATE})

# An action that is not here is allowed to nobody.
POLICY: dict[Action, frozenset[str]] = {
    Action.ORGANIZATION_CREATE: frozenset(),
    Action.ORGANIZATION_READ: _ALL,
    Action.ORGANIZATION_UPDATE: _ADMIN,
    Action.USER_READ: _ADMIN,
    Action.USER_MANAGE: _ADMIN,
    Action.API_KEY_MANAGE: _ADMIN,
    Action.ENROLLMENT_TOKEN_MANAGE: _ADMIN,
    Action.DEVICE_READ: _ALL,
    Action.DEVICE_REGISTER: _ADMIN,
    Action.DEVICE_UPDATE: _OPERATE,
    Action.DEVICE_ACCEPT: _OPERATE,
    Action.DEVICE_RETIRE: _ADMIN,
    Action.DEVICE_ROTATE: _ADMIN | _DEVICE,
    Action.DEVICE_CONFIG: _DEVICE,
    Action.HEARTBEAT_SEND: _OPERATE | _DEVICE,
    Action.GROUP_READ: _ALL,
    Action.GROUP_MANAGE: _ADMIN,
    Action.COMMAND_READ: _ALL | _DEVICE,
    Action.COMMAND_INSPECT: _ALL,
    Action.COMMAND_CREATE: _OPERATE,
    Action.COMMAND_CANCEL: _OPERATE,
    Action.COMMAND_REPORT: _DEVICE,
    Action.BATCH_APPROVE: _OPERATE,
    Action.SCRIPT_READ: _ALL,
    Action.SCRIPT_MANAGE: _ADMIN,
    Action.TEMPLATE_READ: _ALL,
    Action.TEMPLATE_MANAGE: _OPERATE,
    Action.BUNDLE_READ: _OPERATE,
    Action.RELEASE_READ: _ALL,
    Action.RELEASE_MANAGE: _ADMIN,
    Action.ROLLOUT_READ: _ALL,
    Action.ROLLOUT_MANAGE: _ADMIN,
    Action.ROLLOUT_STOP: _OPERATE,
    Action.ROLLOUT_APPROVE: _ADMIN,
    Action.ELIGIBILITY_READ: _ALL | _DEVICE,
    Action.ARTIFACT_READ: _ALL | _DEVICE,
    Action.TRUST_READ: _ALL | _DEVICE,
    Action.TRUST_MANAGE: _ADMIN,
    Action.UPDATE_READ: _ALL,
    Action.UPDATE_FETCH: _DEVICE,
    Action.UPDATE_REPORT: _DEVICE,
    Action.DRIFT_READ: _ALL,
    Action.DRIFT_REPORT: _DEVICE,
    Action.DRIFT_REPAIR: _OPERATE,
    Action.RECOVERY_READ: _ALL | _DEVICE,
    Action.RECOVERY_ENTER: _OPERATE | _DEVICE,
    Action.RECOVERY_OPERATE: _OPERATE,
    Action.RECOVERY_REPORT: _DEVICE,
    Action.CALENDAR_READ: _ALL,
    Action.CALENDAR_MANAGE: _ADMIN,
    Action.CHAOS_USE: _ADMIN,
    Action.AUDIT_READ: _OPERATE,
    Action.SYSTEM_READ: _ALL,
}


def is_allowed(role: str | None, action: Action) -> bool:
    """Say whether the role holds the right; unknown roles and actions hold none."""
    return role is not None and role in POLICY.get(action, frozenset())
