"""Migration operations for what Django has no words for."""

from django.db import migrations


def tenant_key(table: str) -> migrations.RunSQL:
    """Make (organization_id, id) of `table` something composite keys can point at."""
    name = f"{table}_organization_id_unique"
    return migrations.RunSQL(
        f"ALTER TABLE {table} ADD CONSTRAINT {name} UNIQUE (organization_id, id)",
        f"ALTER TABLE {table} DROP CONSTRAINT {name}",
    )


def same_tenant(
    table: str, column: str, target: str, *, target_column: str = "id", on_delete: str = "NO ACTION"
) -> migrations.RunSQL:
    """Make the database refuse a row of `table` whose `column` points into another organisation."""
    name = f"{table}_{column}_same_organization"
    return migrations.RunSQL(
        f"ALTER TABLE {table} ADD CONSTRAINT {name} FOREIGN KEY (organization_id, {column})"
        f" REFERENCES {target} (organization_id, {target_column}) ON DELETE {on_delete}"
        " DEFERRABLE INITIALLY DEFERRED",
        f"ALTER TABLE {table} DROP CONSTRAINT {name}",
    )
