"""What is left of planted secrets, what is lost of log lines, and how long it takes."""

import time
from collections import Counter
from dataclasses import dataclass, field

from bench.redaction.corpus import Planted, log_lines, planted
from commands.bundles.contents.findings import Findings
from commands.bundles.contents.redaction import Redactor


@dataclass
class Measured:
    """One run over the corpus."""

    planted: int = 0
    missed: list[Planted] = field(default_factory=list)
    lines: int = 0
    falsely: list[tuple[str, str]] = field(default_factory=list)
    formats: Counter[str] = field(default_factory=Counter)

    @property
    def recall(self) -> float:
        return 1 - len(self.missed) / self.planted

    @property
    def false_share(self) -> float:
        return len(self.falsely) / self.lines


def measure(*, lines: int, seed: int = 7) -> Measured:
    """Redact the planted files, then lines without secrets."""
    told = Measured()
    for one in planted(seed):
        redactor = Redactor(one.path)
        kept = "\n".join(redactor.line(line) for line in one.lines)
        told.planted += 1
        told.formats[one.format] += 1
        # A part that is left is a secret that is left.
        if any(piece in kept for piece in one.secret.split() if len(piece) > 3):
            told.missed.append(one)
    redactor = Redactor("logs/system.log")
    for line in log_lines(lines, seed):
        told.lines += 1
        kept = redactor.line(line)
        if kept != line:
            told.falsely.append((line, kept))
    return told


def megabytes_per_second(*, lines: int, with_findings: bool = False) -> float:
    """Return how many megabytes of log lines a second of processor time takes secrets out of."""
    given = log_lines(lines)
    redactor, findings = Redactor("logs/system.log"), Findings()
    began = time.process_time()
    for number, line in enumerate(given, start=1):
        kept = redactor.line(line)
        if with_findings:
            findings.look("logs/system.log", number, kept)
    took = time.process_time() - began
    return sum(len(line) + 1 for line in given) / took / 1_000_000
