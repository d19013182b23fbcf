"""Numbers about this machine, read from the kernel. What is not known is left out."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Optional

import psutil

from fleet_agent import processes

DOCKER_SOCKET = Path("/var/run/docker.sock")
THERMAL_ZONES = Path("/sys/class/thermal")
DOCKER_TIMEOUT_S = 2.0
DISK_FULL_PERCENT = 95.0
# Sensors that mean the processor, on Arm boards and on PCs.
CPU_SENSORS = (
    "cpu_thermal",
    "cpu-thermal",
    "soc_thermal",
    "coretemp",
    "k10temp",
    "zenpower",
    "acpitz",
)


class MetricsReader:
    """Reads the metrics of a heartbeat; processor use counts from one reading to the next."""

    def __init__(self) -> None:
        self._has_read = False

    def read(self) -> dict[str, float]:
        metrics: dict[str, float] = {}
        for read in (self._processor, _memory, _disk, _load, _temperature, _containers):
            # One unreadable number must not cost the heartbeat.
            with contextlib.suppress(OSError, ValueError, RuntimeError, psutil.Error):
                metrics.update(read())
        return metrics

    def _processor(self) -> dict[str, float]:
        # The very first reading has nothing to count from.
        interval = None if self._has_read else 0.1
        self._has_read = True
        return {"cpu_percent": psutil.cpu_percent(interval=interval)}


def machine_errors(metrics: dict[str, float]) -> list[str]:
    """Return the sentences a heartbeat carries about what is wrong with the machine."""
    used = metrics.get("disk_percent", 0.0)
    if used > DISK_FULL_PERCENT:
        return [f"disk of / is {used:.0f} % full"]
    return []


def _memory() -> dict[str, float]:
    swap = psutil.swap_memory()
    found = {"mem_percent": psutil.virtual_memory().percent}
    if swap.total:
        found["swap_percent"] = swap.percent
    return found


def _disk() -> dict[str, float]:
    usage = psutil.disk_usage("/")
    return {"disk_percent": usage.percent, "disk_free_gb": round(usage.free / 1e9, 2)}


def _load() -> dict[str, float]:
    one, five, fifteen = psutil.getloadavg()
    return {"load_1m": round(one, 2), "load_5m": round(five, 2), "load_15m": round(fifteen, 2)}


def _temperature() -> dict[str, float]:
    found = _sensor_temperature()
    if found is None:
        found = _zone_temperature()
    return {} if found is None else {"temperature_c": round(found, 1)}


def _sensor_temperature() -> Optional[float]:
    read: Optional[Callable[[], dict[str, Any]]] = getattr(psutil, "sensors_temperatures", None)
    sensors = read() if read else {}
    for name in CPU_SENSORS:
        readings = [entry.current for entry in sensors.get(name, ())]
        values = [float(reading) for reading in readings if _is_plausible(reading)]
        if values:
            return max(values)
    return None


def _zone_temperature() -> Optional[float]:
    values = []
    for path in sorted(THERMAL_ZONES.glob("thermal_zone*/temp")):
        with contextlib.suppress(OSError, ValueError):
            # The kernel gives thousandths of a degree.
            values.append(int(path.read_text()) / 1000)
    plausible = [value for value in values if _is_plausible(value)]
    return max(plausible) if plausible else None


def _is_plausible(celsius: Optional[float]) -> bool:
    return celsius is not None and -50 < celsius < 200 and celsius != 0


def _containers() -> dict[str, float]:
    if not DOCKER_SOCKET.exists() or not processes.is_present("docker"):
        return {}
    listed = processes.run(
        ["docker", "ps", "--all", "--format", "{{.Status}}"], timeout_s=DOCKER_TIMEOUT_S
    )
    if not listed.succeeded:
        return {}
    statuses = listed.output.splitlines()
    return {
        "containers_running": sum(status.startswith("Up") for status in statuses),
        "containers_failed": sum(_is_failed(status) for status in statuses),
    }


def _is_failed(status: str) -> bool:
    exited_badly = re.match(r"Exited \((?!0\))", status) is not None
    return exited_badly or status.startswith(("Restarting", "Dead")) or "(unhealthy)" in status
