"""The agent itself, for devices to install: its wheel and its systemd unit. Both are public."""

import re
import sys
from pathlib import Path

from django.conf import settings
from django.db import transaction
from django.http import FileResponse, Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.views.decorators.http import require_safe

_WHEEL = re.compile(r"^fleet_agent-[0-9A-Za-z.]{1,32}-py3-none-any\.whl$")
_CACHE = "public, max-age=300"


def wheel_folder() -> Path:
    """Return where installing the portal left the agent's wheel."""
    return Path(sys.prefix) / "agent-dist"


def newest_wheel() -> Path | None:
    """Return the wheel that was built last, or None when there is none."""
    found = [path for path in wheel_folder().glob("*.whl") if _WHEEL.match(path.name)]
    return max(found, key=lambda path: path.stat().st_mtime, default=None)


@transaction.non_atomic_requests
@require_safe
def wheel(_request: HttpRequest, name: str) -> HttpResponseBase:
    """Hand out the agent's wheel."""
    path = wheel_folder() / name
    if not _WHEEL.match(name) or not path.is_file():
        raise Http404
    answer = FileResponse(path.open("rb"), content_type="application/octet-stream")
    answer["Cache-Control"] = _CACHE
    return answer


@transaction.non_atomic_requests
@require_safe
def unit(_request: HttpRequest) -> HttpResponse:
    """Hand out the systemd unit that fits the folder the line installs into."""
    path = Path(settings.BASE_DIR) / "agent" / "systemd" / "fleet-agent.service"
    if not path.is_file():
        raise Http404
    return HttpResponse(
        path.read_text(encoding="utf-8"),
        content_type="text/plain; charset=utf-8",
        headers={"Cache-Control": _CACHE},
    )
