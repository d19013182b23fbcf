"""What differs between a bundle and others: the device's last good one, or those of its peers."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from accounts.principals import Principal
from commands.bundles.contents.rewriting import TEXT
from commands.bundles.reading import text_of
from commands.errors import NothingToCompare
from commands.models import SupportBundle
from common import limits

LISTED = 200
_MOST_LINES = limits.BUNDLE_PAGE_LINES_MAX * 5
_UNIT_FILES = re.compile(r"(^|/)[\w-]*units?[\w-]*\.(txt|log)$")
_PACKAGE_FILES = re.compile(r"(^|/)[\w-]*(packages|dpkg|rpm|apk|pip)[\w-]*\.(txt|log|list)$")
_UNIT = re.compile(
    r"^[\s●*x]*(?P<name>[\w@.\\:-]{1,120}\.(?:service|mount|timer|socket|path|target))\s+"
    r"(?P<load>\S+)\s+(?P<active>\S+)(?:\s+(?P<sub>\S+))?"
)
_PACKAGE = re.compile(
    r"^(?:[a-z]{2}\s+)?(?P<name>[a-zA-Z0-9][\w.+:-]*?)(?:==|[\s/=@]+)(?P<version>v?\d\S*)(?:\s|$)"
)


@dataclass
class Facts:
    """What of a bundle can be held against another; paths are without the archive's own folder."""

    findings: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    files: dict[str, int] = field(default_factory=dict)
    units: dict[str, str] = field(default_factory=dict)
    packages: dict[str, str] = field(default_factory=dict)


def others_of(bundle: SupportBundle, *, principal: Principal, against: str) -> list[SupportBundle]:
    """Return the bundles `against` stands for: “good”, “peers” or an id.

    Raises NothingToCompare when there is none.
    """
    ready = SupportBundle.objects.visible_to(principal).filter(
        organization_id=bundle.organization_id, status="ready"
    )
    ready = ready.exclude(pk=bundle.pk).select_related("device").order_by("-id")
    if against == "good":
        found = ready.filter(device_id=bundle.device_id, device_health="healthy")
        found = found.filter(id__lt=bundle.pk)[:1]
        why = "This device sent no bundle while it was healthy before this one."
    elif against == "peers":
        peers = ready.exclude(device_id=bundle.device_id).filter(
            device__role=bundle.device.role, device_health="healthy"
        )
        newest = peers.order_by("device_id", "-id").distinct("device_id").values("pk")
        found = ready.filter(pk__in=newest)[: limits.BUNDLE_PEERS]
        why = "No other healthy device of the same role sent a bundle."
    else:
        found = ready.filter(pk=against)
        why = "There is no such bundle to compare with."
    others = list(found)
    if not others:
        raise NothingToCompare(why)
    return others


def bundle_compare(bundle: SupportBundle, others: Iterable[SupportBundle]) -> dict[str, Any]:
    """Return what only this bundle has, what only the others have, and what differs."""
    here, there = facts_of(bundle), [facts_of(other) for other in others]
    theirs = {key: one for facts in there for key, one in facts.findings.items()}
    common_files = set.intersection(*(set(facts.files) for facts in there))
    any_files = {path for facts in there for path in facts.files}
    return {
        "findings": {
            "only_here": [one for key, one in here.findings.items() if key not in theirs][:LISTED],
            "only_there": [one for key, one in theirs.items() if key not in here.findings][:LISTED],
        },
        "files": {
            "only_here": sorted(set(here.files) - any_files)[:LISTED],
            "only_there": sorted(common_files - set(here.files))[:LISTED],
        },
        "units": _differences(here.units, [facts.units for facts in there]),
        "packages": _differences(here.packages, [facts.packages for facts in there]),
    }


def facts_of(bundle: SupportBundle) -> Facts:
    """Gather what of a bundle can be compared."""
    folder = _own_folder([one["path"] for one in bundle.manifest])
    facts = Facts()
    for one in bundle.findings:
        facts.findings[one["rule"], one["path"].removeprefix(folder)] = one
    for entry in bundle.manifest:
        path = entry["path"].removeprefix(folder)
        facts.files[path] = entry["size"]
        if entry["kind"] != TEXT:
            continue
        if _UNIT_FILES.search(path) and not path.startswith("logs/"):
            _gather_units(facts, text_of(bundle, entry["path"], most_lines=_MOST_LINES))
        elif _PACKAGE_FILES.search(path):
            _gather_packages(facts, text_of(bundle, entry["path"], most_lines=_MOST_LINES))
    return facts


def _own_folder(paths: list[str]) -> str:
    """Return the folder all files lie in, with its slash: it is named after the device."""
    first = {path.partition("/")[0] for path in paths if "/" in path}
    is_one = len(first) == 1 and all("/" in path for path in paths)
    return f"{first.pop()}/" if is_one else ""


def _gather_units(facts: Facts, lines: list[str]) -> None:
    for line in lines:
        match = _UNIT.match(line)
        if match is not None:
            facts.units[match["name"]] = " ".join(filter(None, [match["active"], match["sub"]]))


def _gather_packages(facts: Facts, lines: list[str]) -> None:
    for line in lines:
        match = _PACKAGE.match(line)
        if match is not None:
            facts.packages[match["name"]] = match["version"]


def _differences(here: dict[str, str], there: list[dict[str, str]]) -> list[dict[str, Any]]:
    """Return each name whose value here is found in none of the others; None where it is absent."""
    names = sorted(set(here).union(*there)) if here or any(there) else []
    differing = []
    for name in names:
        others = [values.get(name) for values in there if values]
        if others and here and here.get(name) not in others:
            differing.append({"name": name, "here": here.get(name), "there": _unique(others)})
    return differing[:LISTED]


def _unique(values: list[str | None]) -> list[str]:
    return sorted({value for value in values if value is not None})
