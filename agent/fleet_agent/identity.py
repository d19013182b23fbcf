"""What this machine is: its name, hardware and address."""

from __future__ import annotations

import contextlib
import hashlib
import platform
import re
import socket
import uuid
from pathlib import Path
from typing import Any, Optional
from urllib.parse import urlsplit

from fleet_agent import __version__

_ARCHITECTURES = {"aarch64": "arm64", "x86_64": "amd64", "armv7l": "armhf", "armv6l": "armel"}


def default_device_id() -> str:
    """Return host name and eight digits that tell machines of the same name apart."""
    host = re.sub(r"[^A-Za-z0-9._-]+", "-", socket.gethostname()).strip("-._") or "device"
    machine = _first_line(Path("/etc/machine-id")) or f"{uuid.getnode():012x}"
    # The machine id itself must not leave the machine (machine-id(5)).
    suffix = hashlib.sha256(f"fleet-agent:{machine}".encode()).hexdigest()[:8]
    return f"{host[:55]}-{suffix}"


def machine_facts(portal_url: str) -> dict[str, Any]:
    """Return what the portal is told about this machine when it is enrolled."""
    facts: dict[str, Any] = {
        "platform": "linux",
        "arch": _ARCHITECTURES.get(platform.machine(), platform.machine()),
        "hostname": socket.gethostname()[:128],
        "metadata": {
            "agent_version": __version__,
            "kernel": platform.release(),
            "os": _os_name(),
            "python": platform.python_version(),
        },
    }
    model = _first_line(Path("/proc/device-tree/model")) or _first_line(
        Path("/sys/class/dmi/id/product_name")
    )
    serial = _first_line(Path("/proc/device-tree/serial-number")) or _first_line(
        Path("/sys/class/dmi/id/product_serial")
    )
    if model:
        facts["metadata"]["model"] = model
    if serial:
        facts["serial"] = serial[:64]
    address = _address_towards(portal_url)
    if address:
        facts["ip_address"] = address
    return facts


def _os_name() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/etc/os-release").read_text().splitlines():
            if line.startswith("PRETTY_NAME="):
                return line.partition("=")[2].strip("\"'")[:128]
    return platform.system()


def _first_line(path: Path) -> str:
    try:
        text = path.read_text(errors="replace")
    except OSError:
        return ""
    return "".join(char for char in text.split("\n")[0] if char.isprintable()).strip()[:128]


def _address_towards(url: str) -> Optional[str]:
    # Connecting a datagram socket sends nothing; it only asks the routing table.
    parts = urlsplit(url)
    with contextlib.suppress(OSError, ValueError):
        family, _, _, _, target = socket.getaddrinfo(
            parts.hostname, parts.port or 443, type=socket.SOCK_DGRAM
        )[0]
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect(target)
            return str(probe.getsockname()[0])
    return None
