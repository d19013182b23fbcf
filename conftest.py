"""People every test knows: an organisation's own, and a stranger from another one."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.db.backends.postgresql.operations import DatabaseOperations
from rest_framework.test import APIClient

from accounts.models import Organization
from accounts.policy import Role
from accounts.principals import Principal
from accounts.tests.clients import api_of
from accounts.tests.factories import OrganizationFactory, member
from devices.models import Device
from devices.tests.factories import DeviceFactory, token_of


@pytest.fixture
def organization(db: None) -> Organization:
    return OrganizationFactory(name="Acme", slug="acme")


@pytest.fixture
def other_organization(db: None) -> Organization:
    return OrganizationFactory(name="Globex", slug="globex")


@pytest.fixture
def admin(organization: Organization) -> Principal:
    return member(organization, Role.ADMIN)


@pytest.fixture
def operator(organization: Organization) -> Principal:
    return member(organization, Role.OPERATOR)


@pytest.fixture
def viewer(organization: Organization) -> Principal:
    return member(organization, Role.VIEWER)


@pytest.fixture
def stranger(other_organization: Organization) -> Principal:
    return member(other_organization, Role.ADMIN)


@pytest.fixture
def admin_api(admin: Principal) -> APIClient:
    return api_of(admin)


@pytest.fixture
def operator_api(operator: Principal) -> APIClient:
    return api_of(operator)


@pytest.fixture
def viewer_api(viewer: Principal) -> APIClient:
    return api_of(viewer)


@pytest.fixture
def stranger_api(stranger: Principal) -> APIClient:
    return api_of(stranger)


@pytest.fixture
def anonymous_api(db: None) -> APIClient:
    return api_of(None)


@pytest.fixture
def device(organization: Organization) -> Device:
    return DeviceFactory(organization=organization, device_id="studio-1")


@pytest.fixture
def device_api(device: Device) -> APIClient:
    """A client that proves itself with the device's own token."""
    client = APIClient(headers={"X-Device-Token": token_of(device)})
    client.default_format = "json"
    return client


@pytest.fixture(autouse=True, scope="session")
def flush_of_guarded_tables() -> Iterator[None]:
    """Let transactional tests empty the database.

    The audit log refuses TRUNCATE, and Django does not know the heartbeats' table is the portal's.
    """
    original = DatabaseOperations.sql_flush

    def sql_flush(self: Any, style: Any, tables: Any, **options: Any) -> list[str]:
        trigger = "ALTER TABLE audit_auditentry {} TRIGGER audit_entry_no_truncate"
        return [
            trigger.format("DISABLE"),
            *original(self, style, [*tables, "devices_heartbeat"], **options),
            trigger.format("ENABLE"),
        ]

    DatabaseOperations.sql_flush = sql_flush  # type: ignore[method-assign]
    yield
    DatabaseOperations.sql_flush = original  # type: ignore[method-assign]
