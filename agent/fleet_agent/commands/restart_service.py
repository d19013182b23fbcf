"""restart_service: only units the owner of the device has listed."""

from __future__ import annotations

import time
from typing import Any, ClassVar, Optional

from fleet_agent import processes
from fleet_agent.commands.base import (
    CommandRefusedError,
    CommandType,
    Context,
    Outcome,
    interrupted,
)
from fleet_agent.journal import Entry
from fleet_agent.keys import UNIT_NAME
from fleet_agent.unit_facts import UnitFacts, asked, unit_facts

RESTART_TIMEOUT_S = 90.0
# What systemctl says in a container or under another init.
NO_SYSTEMD = ("not been booted with systemd", "Failed to connect to bus")
_SUFFIXES = (".service", ".socket", ".timer", ".target", ".path", ".mount")


class RestartService(CommandType):
    """Payload: `service`, the name of a unit."""

    name: ClassVar[str] = "restart_service"

    def check(self, payload: dict[str, Any], context: Context) -> dict[str, Any]:
        service = payload.get("service")
        if not isinstance(service, str) or not UNIT_NAME.fullmatch(service):
            raise CommandRefusedError(f"service must be the name of a unit, not {service!r:.150}.")
        allowed = context.store.settings.allowed_services
        if "*" not in allowed and _unit(service) not in {_unit(name) for name in allowed}:
            listed = ", ".join(allowed) or "none"
            raise CommandRefusedError(
                f"{service} may not be restarted on this device. ALLOWED_SERVICES lists: {listed}."
            )
        return {"service": service}

    def facts(self, arguments: dict[str, Any], context: Context) -> dict[str, Any]:
        return {
            "invocation_id": unit_facts(arguments["service"]).invocation_id,
            "boot_id": context.boot_id,
            "monotonic_us": time.monotonic_ns() // 1000,
            "wall_s": time.time(),
        }

    def execute(self, entry: Entry, context: Context) -> Optional[Outcome]:
        service = entry.arguments["service"]
        done = _restart(service)
        if done is None:
            return Outcome("failed", error="Neither systemctl nor service is installed.")
        state = _active_state(service) if done.arguments[0] == "systemctl" else ""
        result = {
            "service": service,
            "method": done.arguments[0],
            "exit_status": done.exit_status,
            "seconds": round(done.seconds, 1),
        }
        output = f"{done.told()}\n{done.output}"
        if state:
            result["active_state"] = state
            output += f"\n`systemctl is-active` says: {state}\n"
        if not done.succeeded:
            return Outcome("failed", result=result, error=done.told(), output=output)
        if state == "failed":
            error = f"{service} was restarted and failed at once."
            return Outcome("failed", result=result, error=error, output=output)
        return Outcome("succeeded", result=result, output=output)

    def probe(self, entry: Entry, context: Context) -> Optional[Outcome]:
        # Needed above all when the agent was told to restart itself.
        service = str(entry.arguments.get("service", ""))
        unit = unit_facts(service)
        started_us = int(entry.facts.get("monotonic_us") or 0)
        waited_s = (time.monotonic_ns() // 1000 - started_us) / 1_000_000
        is_same_boot = entry.facts.get("boot_id") == context.boot_id
        if unit.is_changing and is_same_boot and waited_s < RESTART_TIMEOUT_S:
            return None
        if unit.is_active and _was_started_since(unit, entry.facts, is_same_boot=is_same_boot):
            return Outcome(
                "succeeded",
                result={"service": service, "method": "systemctl", "active_state": "active"},
                output="The agent was restarted meanwhile; the unit was started after the order.",
            )
        return interrupted(f"{service} does not look restarted since")


def _was_started_since(unit: UnitFacts, before: dict[str, Any], *, is_same_boot: bool) -> bool:
    # systemd gives every start of a unit its own id; older ones have none.
    known = before.get("invocation_id")
    if known and unit.invocation_id:
        return bool(unit.invocation_id != known)
    if is_same_boot and unit.active_since_us:
        return bool(unit.active_since_us > before.get("monotonic_us", 0))
    started_s = unit.main_started_s()
    return started_s is not None and bool(started_s > before.get("wall_s", started_s))


def _unit(name: str) -> str:
    return name if name.endswith(_SUFFIXES) else f"{name}.service"


def _restart(service: str) -> Optional[processes.Finished]:
    done = None
    if processes.is_present("systemctl"):
        done = processes.run(["systemctl", "restart", "--", service], timeout_s=RESTART_TIMEOUT_S)
        if done.succeeded or not any(sign in done.output for sign in NO_SYSTEMD):
            return done
    if processes.is_present("service"):
        name = service[: -len(".service")] if service.endswith(".service") else service
        done = processes.run(["service", name, "restart"], timeout_s=RESTART_TIMEOUT_S)
    return done


def _active_state(service: str) -> str:
    lines = asked(["systemctl", "is-active", "--", service])
    return lines[0] if len(lines) == 1 else ""
