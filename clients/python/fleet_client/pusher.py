"""The client of push services, for callers that know only its name and its methods."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Optional, Sequence, Type

from fleet_client.client import AsyncFleetClient
from fleet_client.errors import FleetError
from fleet_client.models import Command, CommandStatus, PushBatchResult


class PusherAPIClient:
    """Pushes commands in coroutines. New code takes AsyncFleetClient, which says why it failed."""

    def __init__(self, base_url: str, api_key: Optional[str] = None, **settings: Any) -> None:
        self._fleet = AsyncFleetClient(base_url, api_key=api_key, **settings)
        # Why the last `push_command` gave False.
        self.last_error: Optional[FleetError] = None

    async def push_command(self, **kwargs: Any) -> bool:
        """Push one command: `device_id`, `command_type`, `payload`, `protocol`, …

        True when the portal took it; False, with the reason in `last_error`, when it did not.
        """
        self.last_error = None
        try:
            result = await self._fleet.commands.push(**kwargs)
        except FleetError as error:
            self.last_error = error
            return False
        return result.success

    async def push_batch(
        self, commands: Sequence[Mapping[str, Any]], **settings: Any
    ) -> PushBatchResult:
        """Push many commands; each is judged by itself."""
        return await self._fleet.commands.push_batch(commands, **settings)

    async def status(self, request_id: str) -> CommandStatus:
        """Return where a command is."""
        return await self._fleet.commands.status(request_id)

    async def wait(self, request_id: str, timeout: Optional[float] = None) -> Command:
        """Wait until a command has ended; WaitTimeout after `timeout` seconds."""
        return await self._fleet.commands.wait(request_id, timeout)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._fleet.aclose()

    async def __aenter__(self) -> PusherAPIClient:
        return self

    async def __aexit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        await self.aclose()
