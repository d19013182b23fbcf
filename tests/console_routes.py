"""The console's routes: what stands for each parameter of a path, and what forms may be sent."""

from typing import Any

from django.contrib import admin

from console.views import device_verbs
from tests.routes import Found, found_routes
from tests.world import Names

# Which name stands for the row of a model.
ROW_OF = {
    "organization": "organization_id",
    "membership": "membership_id",
    "apikey": "api_key_id",
    "device": "device_pk",
    "deviceevent": "event_id",
    "devicegroup": "group_id",
    "enrollmenttoken": "enrollment_token_id",
    "supportbundle": "bundle_id",
    "command": "command_id",
    "commandbatch": "batch_id",
    "script": "script_id",
    "commandtemplate": "template_id",
    "release": "release_id",
    "rollout": "rollout_id",
    "deviceupdate": "update_id",
    "sitecalendar": "calendar_id",
    "driftreport": "drift_id",
    "auditentry": "audit_id",
}
OF_A_MODEL = {"changelist", "add", "history", "delete", "change"}

# Routes beside the five of every model: the name that stands for `pk`, or none.
OTHERS: dict[str, str | None] = {
    "admin:index": None,
    "admin:login": None,
    "admin:logout": None,
    "admin:password_change": None,
    "admin:password_change_done": None,
    "admin:autocomplete": None,
    "admin:jsi18n": None,
    "admin:search": None,
    "admin:devices_device_export": None,
    "admin:commands_supportbundle_download": "bundle_id",
    "admin:commands_commandbatch_preview": None,
    "admin:commands_commandbatch_live": "batch_id",
    "admin:commands_commandbatch_act": "batch_id",
    "admin:commands_command_queue": None,
    "admin:commands_command_cancel": "command_id",
    "admin:commands_command_live": "command_id",
    "admin:commands_command_output": "command_id",
    "admin:commands_command_download": "command_id",
    "admin:commands_command_retry": "command_id",
    "admin:commands_command_release": "command_id",
    "admin:releases_release_act": "draft_release_id",
    "admin:releases_release_upload": "draft_release_id",
    "admin:releases_release_edit": "draft_release_id",
    "admin:releases_rollout_count": None,
    "admin:releases_rollout_live": "rollout_id",
    "admin:releases_rollout_act": "rollout_id",
    "admin:releases_rollout_devices": "rollout_id",
    "admin:releases_rollout_simulation": "rollout_id",
    "admin:audit_auditentry_export": None,
    "console:agent-unit": None,
    "console:organization": None,
    "console:switch": None,
    "console:system": None,
    "console:add-device": None,
    "console:arrivals": "enrollment_token_id",
    "console:device": "device_pk",
    "console:device-live": "device_pk",
    "console:device-chart": "device_pk",
    "console:device-heartbeats": "device_pk",
    "console:device-commands": "device_pk",
    "console:device-commands-live": "device_pk",
    "console:device-updates": "device_pk",
    "console:versions": None,
    "console:trust": None,
    "console:trust-draft": "draft_id",
    "console:trust-sign": "draft_id",
    "console:device-events": "device_pk",
    "console:device-audit": "device_pk",
    "console:device-bundles": "device_pk",
    "console:bundle": "bundle_id",
    "console:bundle-file": "bundle_id",
    "console:bundle-search": "bundle_id",
    "console:bundle-redactions": "bundle_id",
    "console:bundle-compare": "bundle_id",
    "console:device-act": "device_pk",
}

# Routes that have nothing to do with rows of organisations, and why.
TENANTLESS = {
    "health": "says that the process answers",
    "ready": "says what the process can reach",
    "metrics": "counts over the whole installation, without names",
    "schema": "the API's description",
    "docs": "the API's description",
    "docs-errors": "the API's description",
    "home": "leads to the console",
    "console:agent-wheel": "a file of the installation, the same for all",
    "admin:app_list": "leads to the first page",
    "account_login": "a person's own sign-in",
    "account_logout": "a person's own sign-in",
    "account_change_password": "a person's own sign-in",
    "account_reauthenticate": "a person's own sign-in",
}
TENANTLESS_PREFIX = "mfa_"


def console_routes() -> list[Found]:
    """Return the routes the table covers."""
    return [route for route in found_routes() if is_covered(route.name)]


def is_covered(name: str) -> bool:
    return name in OTHERS or model_of(name) is not None


def model_of(name: str) -> str | None:
    """Return the model of one of the five routes of a model, else None."""
    words = name.removeprefix("admin:").split("_")
    is_one = name.startswith("admin:") and len(words) == 3 and words[2] in OF_A_MODEL
    return words[1] if is_one else None


def unlisted() -> list[str]:
    """Return the routes nobody decided on."""
    return [
        f"{route.name} {route.path}"
        for route in found_routes()
        if not route.is_api
        and not is_covered(route.name)
        and route.name not in TENANTLESS
        and not route.name.startswith(TENANTLESS_PREFIX)
        # The admin's old addresses and its catch-all lead elsewhere or nowhere.
        and route.name != "admin:None"
    ]


def row_name(route: Found) -> str:
    """Return which of `Names` fills the path, an empty text when nothing does."""
    model = model_of(route.name)
    if model:
        return ROW_OF[model] if "object_id" in route.path else ""
    return OTHERS[route.name] or ""


def forms_of(route: Found, names: Names) -> list[dict[str, str]]:
    """Return forms that name rows in every member a page of the console may read."""
    rows = {
        "member_of": names["group_id"],
        "group": names["group_id"],
        "groups": names["group_id"],
        "granted": names["group_id"],
        "device": names["device_pk"],
        "devices": names["device_pk"].replace("-", ""),
        "organization": names["slug"],
        "user": names["user_id"],
        "membership": names["membership_id"],
        "command": names["command_id"],
        "release": names["release_id"],
        "rollout": names["rollout_id"],
        "id": names["device_pk"],
    }
    plain = {"name": "a name", "role": "viewer", "reason": "a test", "uses": "1", "ttl": "3600"}
    form = {**plain, **rows}
    if route.name == "admin:logout":
        return []  # it would end the session the next probe needs
    if route.name in ("admin:commands_commandbatch_add", "admin:commands_commandbatch_preview"):
        batch = {**form, "kind": "ping", "expires_in_min": "60", "end_behavior": "stop"}
        return [
            {**batch, "way": "group"},
            {**batch, "way": "tags", "tags": names["tag"]},
            {**batch, "way": "filter", "role": names["role"]},
            {**batch, "way": "devices", "devices": names["device_id"]},
        ]
    if route.name == "admin:commands_command_queue":
        kind = {"kind": "reboot", "expires_in_min": "60", "priority": "0"}
        sent = {**rows, **kind, "confirmed": "1"}
        script = {"kind": "run_script", "run_script-script": names["script_name"]}
        return [
            {**rows, **kind},
            sent,
            {**sent, **script},
            {**sent, "template": names["template_id"], "use_template": "1"},
        ]
    if route.name.endswith("_changelist"):
        return [{**form, **one} for one in actions_of(route, names)]
    return [form]


def verbs_of(route: Found) -> list[str]:
    """Return the buttons whose addresses end in their name, and one nobody has."""
    if "verb" not in route.path:
        return [""]
    known = [*device_verbs.VERBS]
    if route.name.startswith("admin:"):
        known = [one.name for one in _admin_of(route.name.split("_")[1]).verbs]
    return [*known, "nothing"]


def actions_of(route: Found, names: Names) -> list[dict[str, str]]:
    """Return the form of each action of a list, with one row selected."""
    model_name = str(model_of(route.name))
    actions = [getattr(one, "__name__", one) for one in _admin_of(model_name).actions or []]
    row = names[ROW_OF[model_name]]
    return [
        {"action": str(one), "_selected_action": row, "index": "0", "confirmed": "1"}
        for one in actions
    ]


def _admin_of(model_name: str) -> Any:
    sites = admin.site._registry.items()
    return next(one for model, one in sites if model._meta.model_name == model_name)


def queries_of(route: Found, names: Names) -> list[dict[str, str]]:
    """Return queries that ask for rows by every way a page knows."""
    if route.name == "admin:autocomplete":
        return [
            {"app_label": app, "model_name": model, "field_name": field, "term": names["word"]}
            for app, model, field in [
                ("devices", "deviceevent", "device"),
                ("commands", "command", "device"),
                ("devices", "enrollmenttoken", "group"),
                ("accounts", "membership", "user"),
                ("devices", "device", "organization"),
            ]
        ]
    if route.name == "admin:commands_command_queue":
        return [{"devices": names["device_pk"].replace("-", "")}]
    if route.name.endswith(("_changelist", "_export")):
        filters = {
            "group": names["group_id"],
            "tag": names["tag"],
            "role": names["role"],
            "target_id": names["device_pk"],
            "actor": names["word"],
        }
        lookups = {"organization__slug": names["slug"], "device__name__startswith": names["word"]}
        ids = {"device__id__exact": names["device_pk"], "device": names["device_pk"]}
        return [
            {"q": names["word"]},
            *[{key: value} for key, value in filters.items()],
            lookups,
            ids,
        ]
    return [{"metric": "cpu_percent", "device": names["device_pk"], "s": names["word"]}]
