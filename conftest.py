"""People every test knows: an organisation's own, and a stranger from another one."""

import gc
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection
from django.db.backends.postgresql.operations import DatabaseOperations
from rest_framework.test import APIClient

from accounts.models import Organization
from accounts.policy import Role
from accounts.principals import Principal
from accounts.tests.clients import api_of
from accounts.tests.factories import OrganizationFactory, member
from devices.models import Device
from devices.tests.factories import DeviceFactory, token_of
from tests import migrated

# Of so few test processes one takes what waits for other processes, and the rest compute: three
# that compute on two cores are slower than two.
FEW_WORKERS = 3


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put the agent's tests beside the others that mostly wait."""
    workers = getattr(config, "workerinput", {}).get("workercount", 1)
    if workers > FEW_WORKERS:
        return
    agent = config.rootpath / "agent"
    for item in items:
        if agent in item.path.parents:
            item.add_marker(pytest.mark.xdist_group("waits"))


def pytest_collection_finish() -> None:
    """Leave all that was imported out of the garbage collections: it never becomes garbage.

    Going through it again and again took a quarter of the processor's time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 50)


@pytest.fixture(scope="session")
def django_db_modify_db_settings(django_db_modify_db_settings_parallel_suffix: None) -> None:
    """Let the tests' database be a copy of the migrated one, once that is ready."""
    connection.settings_dict["TEST"]["TEMPLATE"] = migrated.template()


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


# More rows than this in any table are quicker truncated than deleted.
FEW_ROWS = 500
# What migrations fill and Django would fill again after every flush.
LASTING = {"django_content_type", "auth_permission"}


@pytest.fixture(autouse=True, scope="session")
def flush_of_guarded_tables() -> Iterator[None]:
    """Let transactional tests empty the database, and quickly.

    The audit log and published releases refuse it, and Django does not know the heartbeats' table
    is the portal's. TRUNCATE makes the files of every table and index anew, whether it held rows or
    not; a test's few rows are deleted instead.
    """
    original = DatabaseOperations.sql_flush

    def sql_flush(self: Any, style: Any, tables: Any, **options: Any) -> list[str]:
        everything = [table for table in [*tables, "devices_heartbeat"] if table not in LASTING]
        held = _tables_with_rows(self.connection, everything)
        if not options.get("reset_sequences") and all(few for _, few, _ in held):
            return _emptied([table for table, *_ in held], [one for one, _, kept in held if kept])
        trigger = "ALTER TABLE audit_auditentry {} TRIGGER audit_entry_no_truncate"
        return [
            trigger.format("DISABLE"),
            *original(self, style, everything, **options),
            trigger.format("ENABLE"),
        ]

    DatabaseOperations.sql_flush = sql_flush  # type: ignore[method-assign]
    yield
    DatabaseOperations.sql_flush = original  # type: ignore[method-assign]


def _tables_with_rows(connection: Any, tables: list[str]) -> list[tuple[str, bool, bool]]:
    """Return the tables that hold rows, whether they are few, and whether triggers guard them."""
    one = (
        "SELECT '{0}', NOT EXISTS (SELECT FROM {0} OFFSET {1}), EXISTS (SELECT FROM pg_trigger"
        " WHERE tgrelid = '{0}'::regclass AND NOT tgisinternal) WHERE EXISTS (SELECT FROM {0})"
    )
    with connection.cursor() as cursor:
        cursor.execute(" UNION ALL ".join(one.format(table, FEW_ROWS) for table in tables))
        return list(cursor.fetchall())


def _emptied(tables: list[str], guarded: list[str]) -> list[str]:
    return [
        *[f"ALTER TABLE {table} DISABLE TRIGGER USER" for table in guarded],
        *[f"DELETE FROM {table}" for table in tables],  # noqa: S608 - names of models' tables
        "SET CONSTRAINTS ALL IMMEDIATE",
        *[f"ALTER TABLE {table} ENABLE TRIGGER USER" for table in guarded],
    ]
