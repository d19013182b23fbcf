"""The pages of a support bundle: what was found, its files, a search, a comparison."""

from typing import Any
from uuid import UUID

from django.http import Http404, HttpRequest, HttpResponse

from accounts.policy import Action
from accounts.principals import Principal
from commands.bundles.comparing import bundle_compare, others_of
from commands.bundles.reading import Found, bundle_lines, bundle_search
from commands.models import SupportBundle
from common import limits
from common.errors import DomainError
from console.views.base import allowed, page, visible
from console.views.device import SHOWN, find
from devices.admin.head import device_head

_PAGE = limits.BUNDLE_PAGE_LINES
_QUERY_CHARS = 200
_DIGITS = 9


def _find(request: HttpRequest, pk: UUID) -> tuple[Principal, SupportBundle]:
    principal = allowed(request, Action.BUNDLE_READ)
    rows = SupportBundle.objects.select_related("device", "organization", "command")
    return principal, visible(rows, principal, pk)


def _head(bundle: SupportBundle, tab: str) -> dict[str, Any]:
    return {
        "bundle": bundle,
        "device": bundle.device,
        "tab": tab,
        "title": f"Bundle of {bundle.device.device_id}",
        "content_title": f"Support bundle of {bundle.device.device_id}",
        "is_ready": bundle.status == SupportBundle.Status.READY,
        "is_waiting": bundle.status not in {SupportBundle.Status.READY, bundle.Status.REFUSED},
        "removed": sum(one["count"] for one in bundle.redactions),
    }


def overview(request: HttpRequest, pk: UUID) -> HttpResponse:
    """What was found, the worst first, then every file by folder."""
    _principal, bundle = _find(request, pk)
    context = {**_head(bundle, "overview"), "folders": _folders(bundle)}
    return page(request, "console/bundle/overview.html", context)


def _folders(bundle: SupportBundle) -> list[dict[str, Any]]:
    """Group the files by folder, with what was found and removed in each."""
    found: dict[str, int] = {}
    removed: dict[str, int] = {}
    for one in bundle.findings:
        found[one["path"]] = found.get(one["path"], 0) + one["count"]
    for one in bundle.redactions:
        removed[one["path"]] = removed.get(one["path"], 0) + one["count"]
    folders: dict[str, list[dict[str, Any]]] = {}
    for entry in sorted(bundle.manifest, key=lambda one: one["path"]):
        folder, _slash, name = entry["path"].rpartition("/")
        path = entry["path"]
        told = {"name": name, "found": found.get(path, 0), "removed": removed.get(path, 0)}
        folders.setdefault(folder, []).append({**entry, **told})
    return [{"name": name or "/", "files": files} for name, files in sorted(folders.items())]


def redactions(request: HttpRequest, pk: UUID) -> HttpResponse:
    """How many secrets each rule took out of which file."""
    _principal, bundle = _find(request, pk)
    return page(request, "console/bundle/redactions.html", _head(bundle, "redactions"))


def file(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Show lines of one file: from a place, around a line, or its end."""
    _principal, bundle = _find(request, pk)
    path = request.GET.get("path", "")
    marked = _whole(request, "line")
    offset = max(0, marked - 1 - _PAGE // 4) if marked else _whole(request, "offset")
    context: dict[str, Any] = {**_head(bundle, "overview"), "path": path, "marked": marked}
    try:
        if "tail" in request.GET:
            offset = -_PAGE
        shown = bundle_lines(bundle, path=path, offset=offset, limit=_PAGE)
    except DomainError as refusal:
        if refusal.http_status == 404:
            raise Http404 from None
        context["refusal"] = refusal.message
    else:
        context |= {
            "shown": shown,
            "previous": max(0, shown.offset - _PAGE) if shown.offset else None,
            "last": shown.offset + len(shown.lines),
            "found": [one for one in bundle.findings if one["path"] == path],
        }
    return page(request, "console/bundle/file.html", context)


def _whole(request: HttpRequest, name: str) -> int:
    given = request.GET.get(name, "")
    return int(given) if given.isascii() and given.isdigit() and len(given) <= _DIGITS else 0


def search(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Find a text in all files, or in one."""
    _principal, bundle = _find(request, pk)
    query = request.GET.get("q", "")[:_QUERY_CHARS]
    path = request.GET.get("path", "")
    context: dict[str, Any] = {**_head(bundle, "search"), "query": query, "path": path}
    try:
        context["found"] = (
            bundle_search(bundle, query=query, path=path) if query else Found([], is_cut=False)
        )
    except DomainError as refusal:
        context["refusal"] = refusal.message
    return page(request, "console/bundle/search.html", context)


def compare(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Hold the bundle against the device's last good one, its peers, or another."""
    principal, bundle = _find(request, pk)
    against = request.GET.get("with", "good")
    if against not in {"good", "peers"}:
        try:
            against = str(UUID(against))
        except ValueError:
            raise Http404 from None
    own = SupportBundle.objects.visible_to(principal).filter(
        device_id=bundle.device_id, status=SupportBundle.Status.READY
    )
    context: dict[str, Any] = {
        **_head(bundle, "compare"),
        "against": against,
        "choices": own.exclude(pk=bundle.pk).order_by("-id")[:20],
    }
    try:
        others = others_of(bundle, principal=principal, against=against)
        context |= {"others": others, "told": bundle_compare(bundle, others)}
    except DomainError as refusal:
        context["refusal"] = refusal.message
    return page(request, "console/bundle/compare.html", context)


def of_device(request: HttpRequest, pk: UUID) -> HttpResponse:
    """The newest bundles of a device."""
    principal, device = find(request, pk)
    allowed(request, Action.BUNDLE_READ)
    rows = SupportBundle.objects.visible_to(principal).filter(device=device).order_by("-id")
    context = {**device_head(principal, device, "bundles"), "rows": rows[:SHOWN]}
    return page(request, "console/device/bundles.html", context)
