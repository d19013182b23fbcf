"""Which command types this agent knows."""

from __future__ import annotations

from typing import Optional

from fleet_agent.commands.base import CommandType
from fleet_agent.commands.bundle import Bundle
from fleet_agent.commands.collect_logs import CollectLogs
from fleet_agent.commands.config import Config
from fleet_agent.commands.drift_check import DriftCheck
from fleet_agent.commands.drift_repair import DriftRepair
from fleet_agent.commands.ping import Ping
from fleet_agent.commands.reboot import Reboot
from fleet_agent.commands.restart_service import RestartService
from fleet_agent.commands.run_script import RunScript
from fleet_agent.commands.safe_mode import SafeModeCommand
from fleet_agent.commands.update import Update

TYPES: dict[str, CommandType] = {
    kind.name: kind
    for kind in (
        Update(),
        Reboot(),
        RestartService(),
        Config(),
        Bundle(),
        Ping(),
        CollectLogs(),
        RunScript(),
        DriftCheck(),
        DriftRepair(),
        SafeModeCommand(),
    )
}


def command_type(name: str) -> Optional[CommandType]:
    """Return the type of this name; None when the agent does not know it."""
    return TYPES.get(name)
