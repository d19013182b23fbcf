"""All checks over one bundle, and what is kept of it."""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import IO, Any

from common import limits
from common.archives.refusal import ArchiveRefused
from releases.validation.compose import check_compose
from releases.validation.contents import Contents, contents_of
from releases.validation.files import check_hooks, check_modes, check_root, check_sums
from releases.validation.findings import Finding, error, worst_first

Check = Callable[[Contents], Iterator[Finding]]
CHECKS: list[Check] = [check_root, check_compose, check_hooks, check_modes, check_sums]


@dataclass
class Report:
    """What was found, and the files; those of an archive that was refused are not known."""

    findings: list[dict[str, Any]] = field(default_factory=list)
    files: list[dict[str, Any]] = field(default_factory=list)
    compose_path: str = ""
    compose_sha256: str = ""


def report_on(file: IO[bytes]) -> Report:
    """Read a bundle and check it."""
    try:
        contents = contents_of(file)
    except ArchiveRefused as refusal:
        return Report(findings=[asdict(error("archive", "", str(refusal)))])
    found = [one for check in CHECKS for one in check(contents)]
    path = contents.compose_path
    return Report(
        findings=[asdict(one) for one in worst_first(found, limits.RELEASE_FINDINGS)],
        files=[
            {
                "path": name,
                "sha256": entry.sha256,
                "size": entry.size,
                "mode": f"{entry.mode & 0o777:04o}",
            }
            for name, entry in sorted(contents.entries.items())
        ],
        compose_path=path,
        compose_sha256=contents.entries[path].sha256 if path else "",
    )
