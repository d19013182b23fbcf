"""What keeps the rooms apart and the tenants too: rules a linter cannot see, read from the code."""

import ast
import configparser
from collections.abc import Iterator

import pytest
from django.apps import apps
from django.contrib import admin
from django.db.models import Model

from accounts.admin_site import TenantModelAdmin
from accounts.tenancy import TenantQuerySet
from tests.sources import PROJECT, Source, is_door, sources

# Below the floor of the tenants: its own query set, with the same `visible_to`.
OWN_VISIBLE_TO = {"AuditEntry"}

# Doors that read rows past `visible_to`, by file and function, and why that is right.
PAST_VISIBLE_TO = {
    "accounts/admin.py": {
        "service_update": "the row as the database has it, of an object `visible_to` gave",
    },
    "devices/admin/devices.py": {
        "service_update": "the row as the database has it, of an object `visible_to` gave",
    },
    "devices/admin/groups.py": {
        "current": "the groups of a membership `visible_to` gave",
        "save": "groups that `current` gave",
        "service_update": "the row as the database has it, of an object `visible_to` gave",
    },
}

# Who may speak SQL besides migrations, and why.
SPEAKS_SQL = {
    "common/db.py": "the one module for it",
    "audit/selectors.py": "extra(): columns as the very text the chain was hashed over",
}


def floors() -> dict[str, int]:
    """Return the height of each room, from the import linter's contract."""
    config = configparser.ConfigParser()
    config.read(PROJECT / ".importlinter")
    rows = config["importlinter:contract:floors"]["layers"].split("\n")
    top_first = [row.replace("|", " ").split() for row in rows if row.strip()]
    return {name: height for height, row in enumerate(reversed(top_first)) for name in row}


def tenant_models() -> list[type[Model]]:
    """Return every model whose rows belong to an organisation."""
    return [
        model
        for model in apps.get_models()
        if any(field.name == "organization" for field in model._meta.get_fields())
        and model._meta.app_label in floors()
    ]


def narrowed_models() -> set[str]:
    """Return the names of every model with a `visible_to`."""
    return {
        model.__name__
        for model in apps.get_models()
        if hasattr(model._default_manager.all(), "visible_to")
    }


def test_foreign_keys_point_down():
    height = floors()
    uphill = []
    for model in apps.get_models():
        own_app = model._meta.app_label
        for field in model._meta.get_fields():
            if not (field.is_relation and field.concrete and field.related_model):
                continue
            other_app = field.related_model._meta.app_label
            if own_app == other_app or own_app not in height or other_app not in height:
                continue
            if height[other_app] >= height[own_app]:
                uphill.append(f"{model.__name__}.{field.name} -> {other_app}")

    assert uphill == []


def test_every_room_is_on_a_floor():
    rooms = {config.label for config in apps.get_app_configs() if (PROJECT / config.label).is_dir()}

    assert rooms - set(floors()) == set()


def test_every_tenant_model_is_asked_through_the_tenant_query_set():
    loose = [
        model.__name__
        for model in tenant_models()
        if not isinstance(model._default_manager.all(), TenantQuerySet)
    ]

    assert set(loose) == OWN_VISIBLE_TO


def test_a_tenant_rows_organization_is_never_empty():
    optional = [
        model.__name__
        for model in tenant_models()
        if model.__name__ not in OWN_VISIBLE_TO and model._meta.get_field("organization").null
    ]

    assert optional == []


def test_every_registered_admin_keeps_tenants_apart():
    # Importing the URL conf registers them.
    __import__("fleetsite.urls")
    classes = {model.__name__: type(one) for model, one in admin.site._registry.items()}

    assert classes
    assert [name for name, one in classes.items() if not issubclass(one, TenantModelAdmin)] == []


# --- doors reach rows through visible_to only ---


def _chain(node: ast.expr) -> tuple[str, list[str]]:
    """Return the root name of `Root.a.b().c()` and the names after it."""
    names: list[str] = []
    while True:
        if isinstance(node, ast.Call):
            node = node.func
        elif isinstance(node, ast.Attribute):
            names.append(node.attr)
            node = node.value
        elif isinstance(node, ast.Subscript):
            node = node.value
        else:
            return (node.id if isinstance(node, ast.Name) else ""), names[::-1]


LAZY = {"objects", "_default_manager", "all", "select_related", "prefetch_related"}
NARROWING = {"visible_or_404", "visible", "get_object_or_404"}


class DoorReader(ast.NodeVisitor):
    """Finds rows of tenants that a door reaches past `visible_to`."""

    def __init__(self, models: set[str]) -> None:
        self.models = models
        self.function = "<module>"
        self.body: ast.AST | None = None
        self.found: list[tuple[str, str]] = []
        self._handled: set[int] = set()
        self._parents: dict[int, ast.AST] = {}

    def read(self, tree: ast.Module) -> list[tuple[str, str]]:
        for parent in ast.walk(tree):
            for child in ast.iter_child_nodes(parent):
                self._parents[id(child)] = parent
        self.visit(tree)
        return self.found

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        outer = self.function, self.body
        self.function, self.body = node.name, node
        self.generic_visit(node)
        self.function, self.body = outer

    def visit_Attribute(self, node: ast.Attribute) -> None:
        if node.attr in {"objects", "_default_manager"} and _root(node) in self.models:
            top = self._whole(node)
            _, names = _chain(top)
            if not self._is_narrowed(top, names):
                self.found.append((self.function, ast.unparse(top)))
        self.generic_visit(node)

    def _whole(self, node: ast.expr) -> ast.expr:
        """Return the largest expression the chain is the beginning of."""
        while True:
            parent = self._parents.get(id(node))
            goes_on = isinstance(parent, ast.Attribute | ast.Subscript) and parent.value is node
            called = isinstance(parent, ast.Call) and parent.func is node
            if not (goes_on or called):
                return node
            node = parent  # type: ignore[assignment]

    def _is_narrowed(self, top: ast.expr, names: list[str]) -> bool:
        if "visible_to" in names:
            return set(names[: names.index("visible_to")]) <= LAZY
        if names[-1] == "none":
            return True
        if not set(names) <= LAZY:
            return False
        parent = self._parents.get(id(top))
        if isinstance(parent, ast.Call) and _root(parent.func) in NARROWING:
            return True
        if isinstance(parent, ast.Assign) and isinstance(parent.targets[0], ast.Name):
            return self._only_narrowed_later(parent.targets[0].id)
        return False

    def _only_narrowed_later(self, name: str) -> bool:
        """Say whether every use of the local name narrows it first."""
        uses = [
            node
            for node in ast.walk(self.body or ast.Module([], []))
            if isinstance(node, ast.Name) and node.id == name and isinstance(node.ctx, ast.Load)
        ]
        return bool(uses) and all(self._narrows(use) for use in uses)

    def _narrows(self, use: ast.Name) -> bool:
        parent = self._parents.get(id(use))
        if isinstance(parent, ast.Call):
            return _root(parent.func) in NARROWING
        return isinstance(parent, ast.Attribute) and parent.attr == "visible_to"


def _root(node: ast.expr) -> str:
    return _chain(node)[0]


def past_visible_to(source: Source, models: set[str]) -> Iterator[str]:
    allowed = PAST_VISIBLE_TO.get(source.name, {})
    for function, expression in DoorReader(models).read(source.tree):
        if function not in allowed:
            yield f"{source.name} {function}: {expression}"


def test_doors_reach_rows_only_through_visible_to():
    models = narrowed_models()
    doors = [source for source in sources() if is_door(source)]

    assert len(doors) > 20
    assert [found for door in doors for found in past_visible_to(door, models)] == []


def test_no_exception_from_visible_to_is_out_of_date():
    models = narrowed_models()
    used = {
        (source.name, function)
        for source in sources()
        if is_door(source)
        for function, _ in DoorReader(models).read(source.tree)
    }
    listed = {(name, function) for name, them in PAST_VISIBLE_TO.items() for function in them}

    assert listed - used == set()


@pytest.mark.parametrize(
    ("code", "is_fine"),
    [
        ("Device.objects.visible_to(who).filter(pk=1)", True),
        ("Device.objects.select_related('state').visible_to(who)", True),
        ("visible_or_404(Device.objects.all(), who, pk=1)", True),
        ("rows = Device.objects.all()\n    visible_or_404(rows, who, pk=1)", True),
        ("Device.objects.none()", True),
        ("Device.objects.filter(pk=1)", False),
        ("Device.objects.get(pk=1)", False),
        ("Device.objects.all()", False),
        ("rows = Device.objects.all()\n    return rows.first()", False),
        ("Device.objects.filter(pk=1).visible_to(who)", False),
        ("Device._default_manager.filter(pk=1)", False),
        ("list(Device.objects.all())", False),
    ],
)
def test_the_reader_of_doors_tells_right_from_wrong(code: str, is_fine: bool):
    tree = ast.parse(f"def door(who):\n    {code}\n")

    assert (DoorReader({"Device"}).read(tree) == []) == is_fine


# --- the broker and the database are spoken to in one place each ---


def _called(source: Source) -> Iterator[tuple[str, int]]:
    for node in source.walk():
        if isinstance(node, ast.Call):
            function = node.func
            if isinstance(function, ast.Attribute):
                yield function.attr, node.lineno
            elif isinstance(function, ast.Name):
                yield function.id, node.lineno


def test_nothing_hands_work_to_the_broker_by_itself():
    """Rows first: a sweep finds what is due. Request code never waits for Redis."""
    sends = {"delay", "apply_async", "send_task", "signature", "delay_on_commit"}
    found = [
        f"{source.name}:{line} {name}()"
        for source in sources()
        for name, line in _called(source)
        if name in sends
    ]

    assert found == []


def test_sql_is_written_in_one_place():
    words = {"cursor", "raw", "extra", "RawSQL"}
    found = {source.name for source in sources() for name, _ in _called(source) if name in words}

    assert found == set(SPEAKS_SQL)


def test_only_one_module_opens_the_orms_connection():
    found = {
        source.name
        for source in sources()
        for node in source.walk()
        if isinstance(node, ast.ImportFrom)
        and node.module == "django.db"
        and {alias.name for alias in node.names} & {"connection", "connections"}
    }

    assert found == {"common/db.py"}


def test_serializers_name_their_fields():
    loose = []
    for source in sources():
        for node in source.walk():
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                name, value = node.targets[0].id, node.value
                is_all = isinstance(value, ast.Constant) and value.value == "__all__"
                if (name == "fields" and is_all) or (name == "exclude" and "api" in source.name):
                    loose.append(f"{source.name}:{node.lineno}")

    assert loose == []


def test_services_do_not_read_the_clock():
    """Doors ask what time it is; services are told. The token services keep the device's pace."""
    found = [
        f"{source.name}:{node.lineno}"
        for source in sources()
        if "services" in source.name
        for node in source.walk()
        if isinstance(node, ast.ImportFrom)
        and (node.module, "clock") in {(node.module, alias.name) for alias in node.names}
    ]

    assert found == []
