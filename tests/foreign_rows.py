"""What a request did to rows of others: a digest of all of them, and references across."""

from functools import cache
from typing import Any

from django.apps import apps
from django.db import IntegrityError, connection
from django.db.models import Field, Model
from guardian.models import UserObjectPermission
from psycopg import sql

from accounts.models import Membership
from devices.models import DeviceGroup
from tests.world import Rows


@cache
def _tenant_tables() -> list[tuple[str, bool]]:
    """Return every table of rows that belong to an organisation, and whether they name a device."""
    tables = {}
    for model in apps.get_models():
        columns = {field.column for field in model._meta.concrete_fields if field.column}
        if "organization_id" in columns:
            tables[model._meta.db_table] = "device_id" in columns
    return sorted(tables.items())


def _places(rows: Rows) -> list[tuple[str, str, object]]:
    """Return table, column and value of everything that belongs to the rows."""
    places: list[tuple[str, str, object]] = [
        ("devices_device", "id", rows.device.pk),
        ("guardian_userobjectpermission", "object_pk", rows.names["group_id"]),
    ]
    if not rows.users:  # a neighbour in the caller's own organisation
        of_device = [name for name, has_device in _tenant_tables() if has_device]
        of_device.remove("devices_device")
        return [*places, *[(name, "device_id", rows.device.pk) for name in of_device]]
    organization = rows.organization.pk
    places += [(name, "organization_id", organization) for name, _ in _tenant_tables()]
    places.append(("accounts_organization", "id", organization))
    for user in rows.users:
        places.append(("accounts_user", "id", user.pk))
        places.append(("accounts_refreshtoken", "user_id", user.pk))
    return places


def fingerprint(others: list[Rows]) -> str:
    """Return a digest of every row that belongs to the others."""
    places = [place for rows in others for place in _places(rows)]
    statement = _digest(tuple((table, column) for table, column, _ in places))
    with connection.cursor() as cursor:
        cursor.execute(statement, [value for _, _, value in places])
        return str(cursor.fetchone()[0])


@cache
def _digest(places: tuple[tuple[str, str], ...]) -> str:
    selects = [
        sql.SQL("SELECT t::text FROM {} t WHERE {} = %s").format(
            sql.Identifier(table), sql.Identifier(column)
        )
        for table, column in places
    ]
    return (
        sql.SQL("SELECT md5(string_agg(row, ' ' ORDER BY row)) FROM ({}) AS everything (row)")
        .format(sql.SQL(" UNION ALL ").join(selects))
        .as_string()
    )


def rows_written() -> int:
    """Return how many rows the transaction has written, those undone included.

    PostgreSQL's own count: nothing that writes gets past it, be it a trigger, a function or COPY.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT sum(pg_stat_get_xact_tuples_inserted(oid)"
            " + pg_stat_get_xact_tuples_updated(oid) + pg_stat_get_xact_tuples_deleted(oid))"
            " FROM pg_class WHERE relkind = 'r' AND oid >= 16384"
        )
        return int(cursor.fetchone()[0])


@cache
def _crossing_rows() -> str:
    """Return the statement that names every reference from a tenant's row to another tenant's."""
    found = []
    for model in apps.get_models():
        names = {field.name for field in model._meta.concrete_fields}
        for reference in model._meta.concrete_fields:
            target = reference.related_model
            if "organization" not in names or not isinstance(target, type):
                continue
            if any(field.name == "organization" for field in target._meta.concrete_fields):
                found.append(_crossing(model, reference))
    return sql.SQL(" UNION ALL ").join(found).as_string()


def _crossing(model: type[Model], reference: "Field[Any, Any]") -> sql.Composed:
    return sql.SQL(
        "SELECT {name} WHERE EXISTS (SELECT FROM {table} t JOIN {target} o ON t.{column} = o.{key}"
        " WHERE t.organization_id IS DISTINCT FROM o.organization_id)"
    ).format(
        name=sql.Literal(f"{model.__name__}.{reference.name}"),
        table=sql.Identifier(model._meta.db_table),
        target=sql.Identifier(reference.related_model._meta.db_table),
        column=sql.Identifier(reference.column),
        key=sql.Identifier(reference.target_field.column),
    )


def crossings() -> list[str]:
    """Return the rows that point into another organisation."""
    with connection.cursor() as cursor:
        cursor.execute(_crossing_rows())
        wrong = [f"{name} points into another organisation" for (name,) in cursor.fetchall()]
    for grant in UserObjectPermission.objects.all():
        group = DeviceGroup.objects.filter(pk=grant.object_pk).first()
        if group and not Membership.objects.filter(
            user_id=grant.user_id, organization_id=group.organization_id
        ):
            wrong.append("a grant on a group for somebody from elsewhere")
    try:
        with connection.cursor() as cursor:
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE; SET CONSTRAINTS ALL DEFERRED")
    except IntegrityError as error:
        wrong.append(f"could not be committed: {error}")
    return wrong
