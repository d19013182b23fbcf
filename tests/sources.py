"""The product's own source files, parsed."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
ROOMS = [
    "fleetsite", "gateway", "console", "governance", "releases", "commands", "devices",
    "accounts", "audit", "common",
]  # fmt: skip


@dataclass(frozen=True)
class Source:
    """One file; `name` is its path inside the project."""

    name: str
    tree: ast.Module

    def walk(self) -> Iterator[ast.AST]:
        return ast.walk(self.tree)


@cache
def sources() -> tuple[Source, ...]:
    """Return every module of the rooms, without tests and migrations."""
    found = []
    for room in ROOMS:
        for path in sorted((PROJECT / room).rglob("*.py")):
            if not {"tests", "migrations"}.intersection(path.parts):
                name = str(path.relative_to(PROJECT))
                found.append(Source(name, ast.parse(path.read_text(encoding="utf-8"))))
    return tuple(found)


def is_door(source: Source) -> bool:
    """Say whether the file answers requests: an endpoint, an admin class or a page."""
    parts = Path(source.name).parts
    return (
        parts[0] == "console"
        or parts[:2] == ("gateway", "native")
        or bool({"api", "admin", "admin.py", "views.py", "views"}.intersection(parts[1:]))
        or source.name == "fleetsite/service.py"
    )
