"""Replacing the device's token by a new one that only this device has ever seen in clear."""

from __future__ import annotations

import hashlib
import logging
import secrets

from fleet_agent.errors import AgentError, PortalError
from fleet_agent.portal import PortalClient
from fleet_agent.settings import ConfigStore

log = logging.getLogger(__name__)


def new_token() -> str:
    return secrets.token_hex(32)


def token_sha256(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def rotate_token(store: ConfigStore) -> None:
    """Make the portal know a new token and use it from now on.

    The new token is in fleet.conf before the portal hears of it, so a lost answer costs nothing:
    the next call goes on with the same token. Raises PortalError or AgentError.
    """
    settings = store.settings
    if not settings.is_enrolled:
        raise AgentError("This device is not enrolled. Run `fleet-agent enroll --url ...`.")
    pending = settings.device_token_pending or new_token()
    if pending != settings.device_token_pending:
        store.change({"DEVICE_TOKEN_PENDING": pending})
    portal = PortalClient(store)
    path = portal.device_path("token/rotate")
    body = {"token_sha256": token_sha256(pending)}
    try:
        portal.call("POST", path, body=body)
    except PortalError as error:
        if error.status != 401:
            raise
        # An earlier try arrived and the new token was used: the old one is dead since.
        portal.call("POST", path, body=body, token=pending)
    finally:
        portal.close()
    promote_pending(store, pending)


def promote_pending(store: ConfigStore, token: str) -> None:
    """Make the pending token the token."""
    store.change({"DEVICE_TOKEN": token, "DEVICE_TOKEN_PENDING": None})


def resume_rotation(store: ConfigStore) -> None:
    """Finish a rotation that was cut off. A failure is logged: the old token still serves."""
    settings = store.settings
    if not (settings.is_active and settings.device_token_pending):
        return
    try:
        rotate_token(store)
        log.info("The rotation of the token that was cut off is finished")
    except (AgentError, OSError) as error:
        log.warning("The rotation of the token is not finished: %s", error)
