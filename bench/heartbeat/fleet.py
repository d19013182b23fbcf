"""The fleet the contenders share: one organisation, many devices with a token each."""

import hashlib
import os
import uuid
from typing import Any

import psycopg

API_KEY = "fk_bench_0123456789abcdef0123456789abcdef"
ORGANIZATION = uuid.UUID("01900000-0000-7000-8000-000000000001")

_COLUMNS = """
INSERT INTO devices_device (id, organization_id, device_id, name, lifecycle, hostname, platform,
    arch, role, branch, segment, serial, hardware_profile, owner, site, metadata, tags,
    maintenance_mode, update_enabled, safe_mode, version_lock, version_lock_owner,
    version_lock_reason, target_version, update_interval_s, status_override,
    status_override_reason, enrolled_by, created_at, updated_at)
VALUES (%s, %s, %s, '', 'active', '', 'linux', 'arm64', 'kiosk', 'main', 'general', '', '', '', '',
    '{}', '{}', false, true, false, '', '', '', '1.1.0', 300, '', '', 'bench', now(), now())
"""
_STATE = """
INSERT INTO devices_devicestate (device_id, organization_id, health, boot_id, past_boots, version,
    agent_version, commit, metrics, status, errors, flaps)
VALUES (%s, %s, 'unknown', '', '[]', '', '', '', '{}', '{}', '[]', 0)
"""
_TOKEN = """
INSERT INTO devices_devicetoken (id, organization_id, device_id, sha256, prefix, created_at,
    confirmed_at) VALUES (%s, %s, %s, %s, '', now(), now())
"""


def device_name(number: int) -> str:
    return f"bench-{number:05d}"


def token(number: int) -> str:
    """The token of a device; the same in every process, so that nothing is passed around."""
    return hashlib.sha256(f"bench-{number}".encode()).hexdigest()


def seed(url: str, devices: int) -> None:
    """Fill a migrated database."""
    rows: list[tuple[uuid.UUID, int]] = [(_uuid7(number), number) for number in range(devices)]
    with psycopg.connect(url) as connection, connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO accounts_organization (id, name, slug, is_active, allow_self_enrollment,"
            " heartbeat_interval_s, command_poll_interval_s, heartbeat_retention_days,"
            " bundle_retention_days, bundle_quota_mb, drift_auto_repair, drift_repairs_per_hour,"
            " created_at)"
            " VALUES (%s, 'Bench', 'bench', true, false, 60, 30, 30, 30, 100, false, 20, now())",
            [ORGANIZATION],
        )
        cursor.execute(
            "INSERT INTO accounts_apikey (id, organization_id, name, role, prefix, sha256,"
            " created_at) VALUES (%s, %s, 'bench', 'operator', 'fk_bench', %s, now())",
            [_uuid7(0), ORGANIZATION, hashlib.sha256(API_KEY.encode()).digest()],
        )
        cursor.executemany(
            _COLUMNS, [(pk, ORGANIZATION, device_name(number)) for pk, number in rows]
        )
        cursor.executemany(_STATE, [(pk, ORGANIZATION) for pk, _ in rows])
        cursor.executemany(
            _TOKEN,
            [
                (_uuid7(number), ORGANIZATION, pk, hashlib.sha256(token(number).encode()).digest())
                for pk, number in rows
            ],
        )
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE")


def _uuid7(number: int) -> uuid.UUID:
    value = (0x0190_0000_0000 + number) << 80 | int.from_bytes(os.urandom(10), "big")
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    return uuid.UUID(int=value)


def body_of(number: int, boot: str, sequence: int, ts: str) -> dict[str, Any]:
    """A heartbeat as the portal's own agent sends it."""
    return {
        "ts": ts,
        "boot_id": boot,
        "sequence": sequence,
        "version": "1.0.0",
        "agent_version": "0.1.0",
        "uptime_seconds": 86_400 + sequence,
        "metrics": {
            "cpu_percent": 15.2,
            "mem_percent": 45.0,
            "disk_percent": 51.0,
            "disk_free_gb": 2.8,
            "temperature_c": 52.0,
            "load_1m": 0.42,
        },
        "status": {"degradation_level": 0},
        "errors": [],
    }
