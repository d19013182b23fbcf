"""Whether the portal itself is well."""

import platform
from importlib.metadata import PackageNotFoundError, version

import django
from django.conf import settings
from django.http import HttpRequest, HttpResponse

from accounts.policy import Action
from common import clock
from common.db import fetch_all, fetch_one
from console.dashboard import pulses
from console.views.base import allowed, page

_LIBRARIES = ["celery", "django-unfold", "djangorestframework", "psycopg"]


def _versions() -> list[tuple[str, str]]:
    server = str(fetch_one("SHOW server_version")[0]).split(" ")[0]
    found = [
        ("Python", platform.python_version()),
        ("Django", django.get_version()),
        ("PostgreSQL", server),
    ]
    for name in _LIBRARIES:
        try:
            found.append((name, version(name)))
        except PackageNotFoundError:
            continue
    return found


def _tables() -> list[tuple[str, int]]:
    """Return the largest tables with their size in bytes; partitions count for their table."""
    rows = fetch_all(
        """
        SELECT coalesce(parent.relname, own.relname) AS name,
               sum(pg_total_relation_size(own.oid))::bigint AS size
          FROM pg_class own
          LEFT JOIN pg_inherits ON inhrelid = own.oid
          LEFT JOIN pg_class parent ON parent.oid = inhparent
         WHERE own.relkind = 'r' AND own.relnamespace = 'public'::regnamespace
         GROUP BY 1 ORDER BY 2 DESC LIMIT 8
        """
    )
    return [(str(name), int(size)) for name, size in rows]


def status(request: HttpRequest) -> HttpResponse:
    """Show signs of life, versions, and how much is stored."""
    allowed(request, Action.SYSTEM_READ)
    tables = _tables()
    largest = max((size for _name, size in tables), default=1) or 1
    context = {
        "title": "System status",
        "content_title": "System status",
        "pulses": pulses(clock.now()),
        "versions": _versions(),
        "address": settings.FLEET_URL,
        "database_size": int(fetch_one("SELECT pg_database_size(current_database())")[0]),
        "tables": [
            {"name": name, "size": size, "share": round(100 * size / largest)}
            for name, size in tables
        ],
    }
    return page(request, "console/system.html", context)
