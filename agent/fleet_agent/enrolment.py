"""Making this machine known to the portal. Safe to repeat after any failure."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

from fleet_agent import conffile
from fleet_agent.durable import write_atomically
from fleet_agent.errors import AgentError, ConfigError, PortalError
from fleet_agent.identity import default_device_id, machine_facts
from fleet_agent.keys import KEYS, read_value
from fleet_agent.portal import PortalClient
from fleet_agent.redaction import SECRETS
from fleet_agent.rotation import new_token, promote_pending, token_sha256
from fleet_agent.settings import ConfigStore, Settings
from fleet_agent.signing import KeyRing
from fleet_agent.updates.manifest import GENERAL
from fleet_agent.updates.trust import TrustStore, can_trust
from fleet_agent.updates.trust_errors import TrustError

# Seconds that enrolling waits for the root of trust.
TRUST_BUDGET_S = 10.0
log = logging.getLogger(__name__)

NEW_FILE = """\
# Settings of fleet-agent. The agent rewrites single lines of this file and keeps the rest.
FLEET_ENABLED=true
# Units the portal may restart: names separated by commas, * for any, empty for none.
ALLOWED_SERVICES=
# Whether the portal may reboot this machine.
ALLOW_REBOOT=false
# Whether the portal may run scripts it has stored and signed.
ALLOW_SCRIPTS=false
# Whether the portal may install releases that trusted keys have signed.
ALLOW_UPDATES=false
"""


@dataclass(frozen=True)
class Enrolment:
    """What `fleet-agent enroll` was called with. `token` is the enrolment token."""

    url: Optional[str] = None
    token: Optional[str] = None
    device_id: Optional[str] = None
    name: Optional[str] = None
    role: Optional[str] = None
    segment: Optional[str] = None
    organization: Optional[str] = None
    is_replacing: bool = False
    allows_updates: bool = False


def enroll(path: Path, wanted: Enrolment) -> str:
    """Enrol this machine, write fleet.conf and return a sentence about the outcome.

    Raises AgentError with what to do; fleet.conf then holds what a repetition needs.
    """
    SECRETS.add(wanted.token)
    store = _opened(path)
    url, device_id = _target(store.settings, wanted)
    proof = _prepared(store, url=url, device_id=device_id, is_replacing=wanted.is_replacing)
    settings = store.settings
    # With a token in force the call only updates what the portal knows of this machine.
    pending = None if settings.device_token else settings.device_token_pending
    body = _body(wanted, settings)
    if "HEARTBEAT_INTERVAL" in conffile.parse(store.text()):
        body["heartbeat_interval_s"] = settings.heartbeat_interval
    if pending:
        body["token_sha256"] = token_sha256(pending)
    answer = _registered(store, body, proof)
    _kept(store, answer, pending)
    if wanted.allows_updates:
        store.change({"ALLOW_UPDATES": "true"})
    _trusted(store)
    place = f"{device_id} at {url}"
    if answer.get("lifecycle") == "pending":
        return f"Enrolled as {place}. An administrator of the portal must accept the device first."
    return f"Enrolled as {place}."


def _opened(path: Path) -> ConfigStore:
    try:
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        if not path.exists():
            write_atomically(path, NEW_FILE.encode())
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be written: {error.strerror}. "
            "Run this as root, or name another file with --config."
        ) from None
    return ConfigStore(path)


def _target(settings: Settings, wanted: Enrolment) -> tuple[str, str]:
    try:
        url = read_value("FLEET_URL", wanted.url) if wanted.url else settings.fleet_url
        device_id = read_value("DEVICE_ID", wanted.device_id) if wanted.device_id else None
    except ValueError as error:
        raise AgentError(str(error)) from None
    if not url:
        raise AgentError("Say where the portal is: --url https://fleet.example.org")
    return url, device_id or settings.device_id or default_device_id()


def _prepared(store: ConfigStore, *, url: str, device_id: str, is_replacing: bool) -> Optional[str]:
    """Write the token that will be asked for; return one that may prove an earlier enrolment."""
    settings = store.settings
    is_same = (settings.fleet_url, settings.device_id) == (url, device_id)
    if settings.device_token and not is_replacing:
        if is_same:
            return settings.device_token
        raise AgentError(
            f"This machine is enrolled already, as {settings.device_id} at {settings.fleet_url}. "
            "Add --replace to give that up."
        )
    if settings.device_token_pending and is_same and not settings.device_token:
        return settings.device_token_pending
    store.change(
        {
            "FLEET_URL": url,
            "DEVICE_ID": device_id,
            "DEVICE_TOKEN": None,
            "DEVICE_TOKEN_PENDING": new_token(),
        }
    )
    return None


def _body(wanted: Enrolment, settings: Settings) -> dict[str, Any]:
    given = {
        # A name given in the portal must outlive a repetition of this.
        "name": wanted.name or (None if settings.device_token else settings.device_id),
        "role": wanted.role,
        "segment": wanted.segment,
        "organization": wanted.organization,
        "enrollment_token": wanted.token,
    }
    body = machine_facts(settings.fleet_url or "")
    body["device_id"] = settings.device_id
    body.update({name: value for name, value in given.items() if value})
    return body


def _registered(store: ConfigStore, body: dict[str, Any], proof: Optional[str]) -> dict[str, Any]:
    portal = PortalClient(store)
    try:
        try:
            return portal.call("POST", "/devices/register", body=body, token=proof)
        except PortalError as error:
            # The earlier request may never have arrived, then the portal has no use for the proof.
            if error.status != 401 or not proof or proof == store.settings.device_token:
                raise
            return portal.call("POST", "/devices/register", body=body, token=None)
    except PortalError as error:
        raise AgentError(_explained(error, str(body["device_id"]))) from None
    finally:
        portal.close()


def _explained(error: PortalError, device_id: str) -> str:
    steps = {
        401: "Is the enrolment token right, and still valid? Make a new one in the portal.",
        403: "Use a valid enrolment token, or ask an administrator to let it in.",
        404: "Is --url the address of the portal, without /api/v1?",
        409: f"A device named {device_id} exists already. Choose another --device-id, or have that "
        "one deleted in the portal.",
    }
    step = steps.get(error.status or 0)
    if step is None and error.is_temporary:
        step = "Run the same command again; repeating it is safe."
    return f"Not enrolled. {error} {step or ''}".rstrip()


def _kept(store: ConfigStore, answer: dict[str, Any], pending: Optional[str]) -> None:
    # A portal that does not know token_sha256 makes the token itself.
    token = answer.get("token") or pending
    if token:
        SECRETS.add(str(token))
        promote_pending(store, str(token))
    given = answer.get("config")
    config = given if isinstance(given, dict) else {}
    KeyRing(store.state_dir).replace(config)
    names = {
        "HEARTBEAT_INTERVAL": "heartbeat_interval_s",
        "COMMAND_POLL_INTERVAL": "command_poll_interval_s",
        "UPDATE_INTERVAL": "update_interval_s",
    }
    present = conffile.parse(store.text())
    changes: dict[str, Optional[str]] = {"FLEET_ENABLED": "true"}
    for name, field in names.items():
        text = str(config.get(field, KEYS[name].default))
        if name not in present and _is_allowed(name, text):
            changes[name] = text
    store.change(changes)


def _trusted(store: ConfigStore) -> None:
    """Pin the organisation's root of trust, where there is one to pin already.

    Otherwise it is pinned when the first release is asked for.
    """
    if not can_trust():
        return
    portal = PortalClient(store)
    try:
        TrustStore(store.state_dir, portal, GENERAL, budget_s=TRUST_BUDGET_S).repin()
    except TrustError as error:
        log.warning("The root of trust is not pinned yet: %s", error)
    finally:
        portal.close()


def _is_allowed(name: str, text: str) -> bool:
    try:
        read_value(name, text)
    except ValueError:
        return False
    return True
