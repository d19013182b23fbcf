"""Speaks to a fleet portal: FleetClient while the caller waits, AsyncFleetClient in coroutines."""

from fleet_client.client import AsyncFleetClient, FleetClient
from fleet_client.credentials import Tokens, TokenStore
from fleet_client.errors import (
    AnswerUnusable,
    Conflict,
    FleetError,
    Forbidden,
    Invalid,
    NotFound,
    NotSignedIn,
    PortalFault,
    RateLimited,
    Refused,
    Unauthenticated,
    Unavailable,
    Unreachable,
    WaitTimeout,
)
from fleet_client.models import CommandOptions
from fleet_client.pusher import PusherAPIClient
from fleet_client.records import Page
from fleet_client.retry import NO_RETRIES, Retries
from fleet_client.version import __version__

__all__ = [
    "NO_RETRIES",
    "AnswerUnusable",
    "AsyncFleetClient",
    "CommandOptions",
    "Conflict",
    "FleetClient",
    "FleetError",
    "Forbidden",
    "Invalid",
    "NotFound",
    "NotSignedIn",
    "Page",
    "PortalFault",
    "PusherAPIClient",
    "RateLimited",
    "Refused",
    "Retries",
    "TokenStore",
    "Tokens",
    "Unauthenticated",
    "Unavailable",
    "Unreachable",
    "WaitTimeout",
    "__version__",
]
