"""What the head of every page about one device shows: state, verbs, tabs."""

from typing import Any

from django.contrib import admin

from accounts.policy import Action
from accounts.principals import Principal
from devices.admin.forms import ReasonForm, StatusForm
from devices.models import Device

TABS = [
    ("overview", "Overview", "console:device"),
    ("heartbeats", "Heartbeats", "console:device-heartbeats"),
    ("commands", "Commands", "console:device-commands"),
    ("updates", "Updates", "console:device-updates"),
    ("events", "Events", "console:device-events"),
    ("bundles", "Bundles", "console:device-bundles"),
    ("audit", "Audit", "console:device-audit"),
]
# What some of them need beside reading the device.
RIGHTS = {"updates": Action.UPDATE_READ, "audit": Action.AUDIT_READ, "bundles": Action.BUNDLE_READ}
COMMANDABLE = {Device.Lifecycle.ACTIVE, Device.Lifecycle.QUARANTINED}


def device_head(principal: Principal, device: Device, tab: str) -> dict[str, Any]:
    """Return the context of the head; a verb is offered where the role holds its right."""
    here = principal.organization is not None

    def may(action: Action) -> bool:
        return here and principal.may(action)

    pending = device.lifecycle == Device.Lifecycle.PENDING
    return {
        "device": device,
        "state": device.state,
        "tab": tab,
        "tabs": [one for one in TABS if one[0] not in RIGHTS or principal.may(RIGHTS[one[0]])],
        "title": device.device_id,
        "content_title": device.device_id,
        "model_admin": admin.site.get_model_admin(Device),
        "may_update": may(Action.DEVICE_UPDATE) and not device.is_retired,
        "may_command": may(Action.COMMAND_CREATE) and device.lifecycle in COMMANDABLE,
        "may_accept": may(Action.DEVICE_ACCEPT) and pending,
        "may_retire": may(Action.DEVICE_RETIRE) and not device.is_retired and not pending,
        "reason_form": ReasonForm(auto_id="reason_%s"),
        "status_form": StatusForm(
            auto_id="status_%s",
            initial={"status": device.status_override, "reason": device.status_override_reason},
        ),
    }
