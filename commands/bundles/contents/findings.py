"""What an engineer looks for first in logs: known troubles, found line by line."""

import re
from dataclasses import asdict, dataclass, field
from typing import Any

from common import limits

SEVERITIES = ["critical", "error", "warning", "info"]
RESTARTS = 3
DISK_FULL_PERCENT = 95
_SHOWN_CHARS = 240


@dataclass(frozen=True)
class Trouble:
    """A kind of trouble; a line is looked at only when it holds one of `hints` (lower case)."""

    rule: str
    severity: str
    hints: tuple[str, ...]
    pattern: re.Pattern[str]


def _trouble(rule: str, severity: str, hints: list[str], pattern: str) -> Trouble:
    return Trouble(rule, severity, tuple(hints), re.compile(pattern, re.IGNORECASE))


TROUBLES = [
    _trouble(
        "kernel_panic",
        "critical",
        ["panic", "oops", "kernel bug", "unable to handle kernel", "hard lockup", "soft lockup"],
        r"kernel panic - |\boops(?:\[#\d+\]|: [0-9a-f]{4})|kernel bug at |unable to handle kernel"
        r"|(?:hard|soft) lockup",
    ),
    _trouble(
        "out_of_memory",
        "critical",
        ["out of memory", "oom-kill", "oom_kill", "oom killer"],
        r"out of memory: kill|invoked oom-killer|oom-kill:|failed with result 'oom-kill'"
        r"|oom killer",
    ),
    _trouble(
        "read_only",
        "critical",
        ["read-only"],
        r"re-?mount\w*[^.]{0,40}read-only|read-only file system|mounting fs read-only",
    ),
    _trouble(
        "io_error",
        "critical",
        ["i/o error", "ext4-fs error", "input/output error", "medium error", "mmc", "ata", "btrfs"],
        r"\bi/o error|input/output error|ext4-fs error|medium error"
        r"|mmc\d+: (?:error -\d+|timeout|card stuck)"
        r"|ata\d[\d.]{0,3}: (?:failed command|.{0,20}exception emask)"
        r"|btrfs.{0,40}(?:corrupt|csum failed)|buffer i/o",
    ),
    _trouble(
        "disk_full",
        "error",
        ["no space left", "enospc", "disk full", "disk quota exceeded"],
        r"no space left on device|\benospc\b|disk (?:is )?full|disk quota exceeded",
    ),
    _trouble(
        "watchdog",
        "critical",
        ["watchdog"],
        r"watchdog (?:timeout|did not stop|bit(?:e|ten)|reset|expired)|watchdog: bug"
        r"|reset by watchdog|reboot\w* (?:by|due to) .{0,20}watchdog|hardware watchdog.{0,40}fired",
    ),
    _trouble(
        "under_voltage",
        "error",
        ["voltage", "throttled=", "hwmon"],
        r"under-?voltage (?:detected|occurred)|throttled=0x(?!0+\b)[0-9a-f]+|low voltage",
    ),
    _trouble(
        "thermal",
        "error",
        ["thermal", "temperature", "throttl", "overheat"],
        r"temperature above threshold|critical temperature|thermal (?:shutdown|throttling)"
        r"|cpu clock throttled|overheat|soft temperature limit",
    ),
    _trouble(
        "segfault",
        "error",
        ["segfault", "segmentation fault", "sigsegv", "dumped core", "general protection"],
        r"\bsegfault at |segmentation fault|\bsigsegv\b|dumped core|general protection fault",
    ),
    _trouble(
        "unit_failed",
        "error",
        ["failed", "●"],
        r"(?:^|[:\s●*])(?P<unit>[\w@.\\-]{1,120}\.(?:service|mount|timer|socket|path|target))\b"
        r"(?:: (?:main process exited.{0,80})?failed with result|\s+loaded\s+failed"
        r"|.{0,20} entered failed state)"
        r"|failed to start (?P<started>[^\r\n]{1,80})",
    ),
    _trouble(
        "restarts",
        "warning",
        ["restart"],
        r"(?P<unit>[\w@.\\-]{1,120}\.service): (?:scheduled restart job, restart counter is at"
        r" (?P<times>\d+)|start request repeated too quickly)",
    ),
    _trouble(
        "clock_jump",
        "warning",
        ["time has been changed", "clock", "time jumped", "forward jump", "backward"],
        r"time has been changed|system clock (?:wrong by|was stepped)"
        r"|(?:forward|backward) time jump"
        r"|clock (?:jump|step)\w*|time jumped|clocksource.{0,60}unstable",
    ),
]
_BY_HINT = [(hint, place) for place, trouble in enumerate(TROUBLES) for hint in trouble.hints]
# df: /dev/root  ext4  29G  28G  500M  99% /
_DF = re.compile(r"^\S+(?:\s+[\w.\-]+){1,2}\s.*?\s(?P<used>\d{1,3})%\s+(?P<mount>/\S*)\s*$")
_IMAGES = ("/dev/loop", "squashfs", "overlay", "iso9660", "/snap/")


@dataclass
class Finding:
    """One trouble in one file: the first line that tells of it, and how many do."""

    rule: str
    severity: str
    message: str
    path: str
    line: int
    count: int = 1


@dataclass
class Findings:
    """What was found in all files of a bundle."""

    found: dict[tuple[str, str, str], Finding] = field(default_factory=dict)

    def look(self, path: str, number: int, line: str) -> None:
        """Look at one line; `number` counts from 1."""
        if "% " in line or "%\t" in line:
            self._look_at_df(path, number, line)
        low = line.lower()
        places = set()
        for hint, place in _BY_HINT:
            if hint in low:
                places.add(place)
        for place in sorted(places):
            match = TROUBLES[place].pattern.search(line)
            if match is not None:
                self._add(TROUBLES[place], path, number, line, match)
                return

    def worst_first(self) -> list[dict[str, Any]]:
        """Return the findings, the worst first, as the portal stores them."""
        found = sorted(
            self.found.values(),
            key=lambda one: (SEVERITIES.index(one.severity), -one.count, one.path, one.line),
        )
        return [asdict(one) for one in found[: limits.BUNDLE_FINDINGS]]

    def _add(
        self, trouble: Trouble, path: str, number: int, line: str, match: re.Match[str]
    ) -> None:
        groups = match.groupdict()
        times = groups.get("times")
        if times is not None and int(times[:9]) < RESTARTS:
            return
        about = groups.get("unit") or groups.get("started") or ""
        self._note(trouble.rule, trouble.severity, about, Finding("", "", line, path, number))

    def _look_at_df(self, path: str, number: int, line: str) -> None:
        match = _DF.match(line)
        if match is None or any(word in line for word in _IMAGES):
            return
        if int(match.group("used")) >= DISK_FULL_PERCENT:
            found = Finding("", "", line, path, number)
            self._note("disk_full", "error", match.group("mount"), found)

    def _note(self, rule: str, severity: str, about: str, found: Finding) -> None:
        """Count the finding with those about the same thing in the same file."""
        known = self.found.get((rule, found.path, about))
        if known is not None:
            known.count += 1
        elif len(self.found) < 4 * limits.BUNDLE_FINDINGS:
            found.rule, found.severity = rule, severity
            found.message = found.message.strip()[:_SHOWN_CHARS]
            self.found[rule, found.path, about] = found
