"""The archive as sent becomes the zip that is kept: without secrets, with what was found."""

import zipfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import IO, Any

from commands.bundles.contents.findings import Findings
from commands.bundles.contents.lines import CHUNK, SNIFFED_BYTES, encoding_of, lines_of
from commands.bundles.contents.redaction import Redactor
from common.archives.members import Member

TEXT, BINARY = "text", "binary"
# The same bytes give the same archive.
_EPOCH = (1980, 1, 1, 0, 0, 0)
_GATHERED = 64 * 1024


@dataclass
class Report:
    """What the portal stores of a bundle beside the zip."""

    manifest: list[dict[str, Any]] = field(default_factory=list)
    redactions: list[dict[str, Any]] = field(default_factory=list)
    findings: list[dict[str, Any]] = field(default_factory=list)


def rewrite(members: Iterable[Member], into: IO[bytes]) -> Report:
    """Write the members into a new zip and return what was seen. Raises ArchiveRefused.

    Text goes line by line through redaction; what is no text is kept as it is, unread.
    """
    report, findings = Report(), Findings()
    with zipfile.ZipFile(into, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        for member in members:
            start = _sniff(member)
            encoding = encoding_of(start)
            entry = zipfile.ZipInfo(member.name, date_time=_EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o600 << 16
            with archive.open(entry, "w") as kept:
                if encoding is None:
                    told = _copy(start, member, kept)
                else:
                    told = _redact(start, member, encoding, kept, report, findings)
            report.manifest.append({"path": member.name, **told})
    report.findings = findings.worst_first()
    return report


def _sniff(member: Member) -> bytes:
    start = b""
    while len(start) < SNIFFED_BYTES and (more := member.read(SNIFFED_BYTES - len(start))):
        start += more
    return start


def _copy(start: bytes, member: Member, kept: IO[bytes]) -> dict[str, Any]:
    size, chunk = 0, start
    while chunk:
        size += kept.write(chunk)
        chunk = member.read(CHUNK)
    return {"size": size, "kind": BINARY, "lines": 0}


def _redact(
    start: bytes,
    member: Member,
    encoding: str,
    kept: IO[bytes],
    report: Report,
    findings: Findings,
) -> dict[str, Any]:
    redactor = Redactor(member.name)
    size = number = waiting = 0
    gathered: list[str] = []
    for number, line in enumerate(lines_of(start, member.read, encoding), start=1):
        clean = redactor.line(line)
        findings.look(member.name, number, clean)
        gathered.append(clean)
        waiting += len(clean)
        if waiting > _GATHERED:
            size += kept.write(_joined(gathered))
            gathered, waiting = [], 0
    size += kept.write(_joined(gathered))
    report.redactions += [
        {"rule": rule, "path": member.name, "count": count}
        for rule, count in sorted(redactor.counts.items())
    ]
    return {"size": size, "kind": TEXT, "lines": number}


def _joined(lines: list[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode("utf-8", "replace")
