"""What a route is, as the URL conf tells, and what a test needs to know to call it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from django.urls import URLPattern, URLResolver, get_resolver

from accounts.policy import Action
from tests.world import Names

PREFIX = "api/v1/"
Body = Callable[[Names], Any]


@dataclass(frozen=True)
class Found:
    """A route of the URL conf."""

    name: str
    path: str
    view: Any

    @property
    def is_api(self) -> bool:
        return self.path.startswith(PREFIX)

    @property
    def actions(self) -> dict[str, Action]:
        """The right each method needs, as the view declares it."""
        actions: dict[str, Action] = getattr(getattr(self.view, "view_class", None), "actions", {})
        return actions


def found_routes() -> list[Found]:
    """Return every route of the URL conf."""
    return list(_walk(get_resolver().url_patterns, "", ""))


def _walk(patterns: list[Any], prefix: str, namespace: str) -> Iterator[Found]:
    for pattern in patterns:
        path = prefix + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            inside = f"{namespace}{pattern.namespace}:" if pattern.namespace else namespace
            yield from _walk(pattern.url_patterns, path, inside)
        elif isinstance(pattern, URLPattern):
            yield Found(f"{namespace}{pattern.name}", path, pattern.callback)


def api_routes() -> dict[str, Found]:
    """Return the API's routes by name."""
    return {route.name: route for route in found_routes() if route.is_api}


@dataclass(frozen=True)
class Entry:
    """An audit entry an operation leaves; without `target` the answer's `id` is its target."""

    action: str
    target_type: str = ""
    target: str = ""


@dataclass(frozen=True)
class Operation:
    """One method of one route, and how it is done once with success.

    `path` says which of `Names` stands for a path parameter of another name. `entries` are the
    audit entries it leaves; `unlogged` is the reason why an unsafe method leaves none. `expect`
    are the statuses by identity where the right alone does not decide.
    """

    route: str
    method: str
    status: int = 200
    path: dict[str, str] = field(default_factory=dict)
    body: Body | None = None
    # What it needs beside the body.
    query: dict[str, str] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    also: tuple[Body, ...] = ()
    content_type: str = "application/json"
    entries: tuple[Entry, ...] = ()
    unlogged: str = ""
    expect: dict[str, int] = field(default_factory=dict)
    # Only a device holds what this needs; the audit test then acts as one.
    by_device: bool = False
    # Only an owner of the installation may; the audit test then makes the admin one.
    by_owner: bool = False

    def __str__(self) -> str:
        return f"{self.method} {self.route}"

    def url(self, route: Found, names: Names) -> str:
        """Return the address with every parameter filled from `names`."""
        return "/" + fill(route.path, {**names, **{p: names[n] for p, n in self.path.items()}})


def parameters(path: str) -> list[str]:
    """Return the names of a path's parameters."""
    return [piece.split(">")[0].split(":")[-1] for piece in path.split("<")[1:]]


def fill(path: str, values: Names) -> str:
    """Fill a path's parameters."""
    first, *pieces = path.split("<")
    filled = [first]
    for piece in pieces:
        name, rest = piece.split(">", 1)
        filled.append(values[name.split(":")[-1]] + rest)
    return "".join(filled)


def get(route: str, **fields: Any) -> Operation:
    return Operation(route, "GET", **fields)
