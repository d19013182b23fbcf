"""The look of the console and its sidebar, by task. Read by the settings, so it imports no app."""

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest
from django.templatetags.static import static
from django.urls import reverse_lazy

Rule = Callable[[HttpRequest], bool]


def _may(right: str, *, everywhere: bool = True) -> Rule:
    """Return a rule: the person's role holds the right where they act.

    With `everywhere` false an owner who looks at all organisations at once is left out, and so
    are people limited to some groups.
    """

    def rule(request: HttpRequest) -> bool:
        principal = getattr(request, "principal", None)
        if principal is None or not principal.may(right):
            return False
        return everywhere or principal.organization is not None

    return rule


def _audit(request: HttpRequest) -> bool:
    principal = getattr(request, "principal", None)
    return principal is not None and principal.may("audit.read") and not principal.limited


def _under(*prefixes: str) -> Rule:
    return lambda request: request.path.startswith(prefixes)


def _item(title: str, icon: str, link: str, rule: Rule, **more: Any) -> dict[str, Any]:
    return {
        "title": title,
        "icon": icon,
        "link": reverse_lazy(link),
        "permission": rule,
        **more,
    }


def _group(title: str, *items: dict[str, Any]) -> dict[str, Any]:
    return {"title": title, "items": list(items)}


NAVIGATION = [
    _group(
        "Fleet",
        _item("Dashboard", "space_dashboard", "admin:index", lambda _request: True),
        _item(
            "Devices",
            "devices",
            "admin:devices_device_changelist",
            _may("device.read"),
            active=_under("/admin/devices/device/", "/console/devices/"),
        ),
        _item(
            "Device groups",
            "workspaces",
            "admin:devices_devicegroup_changelist",
            _may("group.read"),
        ),
        _item(
            "Enrolment tokens",
            "key",
            "admin:devices_enrollmenttoken_changelist",
            _may("enrollment_token.manage"),
        ),
        _item(
            "Add a device",
            "add_circle",
            "console:add-device",
            _may("enrollment_token.manage", everywhere=False),
        ),
        _item(
            "Device events", "timeline", "admin:devices_deviceevent_changelist", _may("device.read")
        ),
    ),
    _group(
        "Commands",
        _item("Commands", "terminal", "admin:commands_command_changelist", _may("command.read")),
        _item("Batches", "stacks", "admin:commands_commandbatch_changelist", _may("command.read")),
        _item("Scripts", "code", "admin:commands_script_changelist", _may("script.read")),
        _item(
            "Templates",
            "bookmark",
            "admin:commands_commandtemplate_changelist",
            _may("template.read"),
        ),
        _item(
            "Support bundles",
            "folder_zip",
            "admin:commands_supportbundle_changelist",
            _may("bundle.read"),
            active=_under("/admin/commands/supportbundle/", "/console/bundles/"),
        ),
    ),
    _group(
        "Releases",
        _item(
            "Releases", "deployed_code", "admin:releases_release_changelist", _may("release.read")
        ),
        _item(
            "Rollouts", "rocket_launch", "admin:releases_rollout_changelist", _may("rollout.read")
        ),
        _item("Versions", "table_chart", "console:versions", _may("release.read")),
        _item(
            "Updates",
            "system_update_alt",
            "admin:releases_deviceupdate_changelist",
            _may("update.read"),
        ),
        _item("Drift", "difference", "admin:devices_driftreport_changelist", _may("drift.read")),
        _item(
            "Site calendars",
            "calendar_month",
            "admin:releases_sitecalendar_changelist",
            _may("calendar.read"),
        ),
        _item(
            "Signing keys",
            "key_vertical",
            "console:trust",
            _may("release.read", everywhere=False),
            active=_under("/console/trust"),
        ),
    ),
    _group(
        "Governance",
        _item("Audit log", "policy", "admin:audit_auditentry_changelist", _audit),
    ),
    _group(
        "System",
        _item(
            "Organisation",
            "domain",
            "console:organization",
            _may("organization.read"),
            active=_under("/admin/accounts/organization/"),
        ),
        _item("People", "group", "admin:accounts_membership_changelist", _may("user.read")),
        _item("API keys", "vpn_key", "admin:accounts_apikey_changelist", _may("api_key.manage")),
        _item("System status", "monitor_heart", "console:system", _may("system.read")),
    ),
]

# Weights from light to dark; blue, so that the colours of states stay free.
_PRIMARY = {
    "50": "oklch(97% .014 254.604)",
    "100": "oklch(93.2% .032 255.585)",
    "200": "oklch(88.2% .059 254.128)",
    "300": "oklch(80.9% .105 251.813)",
    "400": "oklch(70.7% .165 254.624)",
    "500": "oklch(62.3% .19 258)",
    "600": "oklch(52.5% .2 260)",
    "700": "oklch(46% .19 262)",
    "800": "oklch(40% .16 264)",
    "900": "oklch(35% .13 265)",
    "950": "oklch(27% .09 267)",
}

UNFOLD: dict[str, Any] = {
    "SITE_TITLE": "Fleet portal",
    "SITE_HEADER": "Fleet portal",
    "SITE_SUBHEADER": "console.context.organization_name",
    "SITE_DROPDOWN": "console.context.switcher",
    "SITE_SYMBOL": "hub",
    "SITE_URL": None,
    "SITE_FAVICONS": [
        {
            "rel": "icon",
            "type": "image/svg+xml",
            "href": lambda _request: static("console/favicon.svg"),
        }
    ],
    "SHOW_HISTORY": False,
    "SHOW_VIEW_ON_SITE": False,
    "DASHBOARD_CALLBACK": "console.dashboard.dashboard",
    "STYLES": [lambda _request: static("console/console.css")],
    "SCRIPTS": [lambda _request: static("console/console.js")],
    "BORDER_RADIUS": "6px",
    "COLORS": {"primary": _PRIMARY},
    "ACCOUNT": {
        "navigation": [
            {"title": "Two-step sign-in", "link": reverse_lazy("mfa_index")},
            {"title": "Change password", "link": reverse_lazy("account_change_password")},
        ]
    },
    "SIDEBAR": {"show_search": False, "show_all_applications": False, "navigation": NAVIGATION},
}
