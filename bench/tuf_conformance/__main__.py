"""`python -m bench.tuf_conformance`: the TUF project's own conformance suite against the agent.

Exit status 0 when every case passes but those that `expected_failures` argues, and each of those
fails still; 1 otherwise; 2 when the suite or something it needs is not there.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

TREE = Path(__file__).resolve().parents[2]
EXPECTED = Path(__file__).with_name("expected_failures")
HOW = """\
The suite is not part of this tree:
    git clone https://github.com/theupdateframework/tuf-conformance /tmp/tuf-conformance
    make conformance SUITE=/tmp/tuf-conformance
It needs the program faketime (on Debian: apt-get install faketime) and Python 3.11.
What it runs on is installed into SUITE/env.
"""
# How pytest calls what happened to a case that is listed as failing.
FAILS_AS_LISTED, PASSES_THOUGH_LISTED = "xfailed", "listed, but passes"


@dataclass(frozen=True)
class Case:
    """One case of the suite and how it went."""

    name: str
    outcome: str
    text: str

    @property
    def group(self) -> str:
        return self.name.partition("[")[0]


def main() -> int:
    options = _options()
    suite = Path(options.suite).resolve() if options.suite else None
    if suite is None or not (suite / "tuf_conformance").is_dir() or not shutil.which("faketime"):
        sys.stderr.write(HOW)
        return 2
    _install(suite)
    with tempfile.TemporaryDirectory() as folder:
        cases = _run(suite, Path(folder), options.only)
    reasons = dict(_reasons())
    for line in _summary(cases, reasons, commit=_commit(suite)):
        print(line)
    is_well = all(case.outcome in ("passed", FAILS_AS_LISTED) for case in cases)
    return 0 if cases and is_well else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.tuf_conformance", description=__doc__)
    parser.add_argument("--suite", default="", help="a checkout of tuf-conformance")
    parser.add_argument("--only", default="", metavar="EXPRESSION", help="as with pytest -k")
    return parser.parse_args()


def _install(suite: Path) -> None:
    """Make the suite's own environment in its checkout, where its Makefile makes it too."""
    python = suite / "env" / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", suite / "env"], check=True)
    quietly = ["--quiet", "--disable-pip-version-check", "--no-input"]
    subprocess.run([python, "-m", "pip", "install", *quietly, "-e", suite], check=True)


def _run(suite: Path, folder: Path, only: str) -> list[Case]:
    report = folder / "report.json"
    subprocess.run(
        [
            *(suite / "env" / "bin" / "python", "-m", "pytest", "-q", "--no-header", "--tb=short"),
            *("--entrypoint", _entrypoint(folder)),
            *("--json-report", f"--json-report-file={report}"),
            *(("-k", only) if only else ()),
            suite / "tuf_conformance",
        ],
        cwd=suite,
        check=False,
        stdout=subprocess.DEVNULL,
    )
    found = json.loads(report.read_text())["tests"]
    return [_case(test) for test in found]


def _entrypoint(folder: Path) -> Path:
    """Write the program the suite starts, and beside it the list of cases that fail."""
    program = folder / "fleet-agent-tuf"
    path = os.pathsep.join([str(TREE), str(TREE / "agent")])
    program.write_text(
        f"#!/bin/sh\nPYTHONPATH='{path}' exec '{sys.executable}' -m bench.tuf_conformance.client"
        ' "$@"\n'
    )
    program.chmod(0o755)
    shutil.copyfile(EXPECTED, program.with_name(f"{program.name}.xfails"))
    return program


def _case(test: dict) -> Case:
    call = test.get("call") or test["setup"]
    outcome = test["outcome"]
    text = str(call.get("longrepr", ""))
    if outcome == "failed" and "XPASS(strict)" in text:
        outcome = PASSES_THOUGH_LISTED
    return Case(test["nodeid"].rpartition("::")[2], outcome, text)


def _reasons() -> Iterator[tuple[str, str]]:
    """Give each listed case or group of cases and the comment above it."""
    reason: list[str] = []
    for line in EXPECTED.read_text().splitlines():
        if line.startswith("#"):
            reason.append(line.lstrip("# "))
        elif line:
            yield line, " ".join(reason)
        else:
            reason = []


def _commit(suite: Path) -> str:
    asked = ["git", "-C", suite, "rev-parse", "HEAD"]
    done = subprocess.run(asked, check=False, capture_output=True, text=True)
    return done.stdout.strip() or "of unknown commit"


def _summary(cases: list[Case], reasons: dict[str, str], *, commit: str) -> Iterator[str]:
    yield f"tuf-conformance {commit}"
    for outcome, number in sorted(Counter(case.outcome for case in cases).items()):
        yield f"{outcome + ':':<24}{number:>4}"
    for case in cases:
        if case.outcome == FAILS_AS_LISTED:
            reason = reasons.get(case.name) or reasons.get(case.group, "")
            yield f"expected to fail: {case.name}: {reason}"
        elif case.outcome != "passed":
            yield f"{case.outcome.upper()}: {case.name}"
            yield from (f"    {line}" for line in case.text.splitlines()[-12:])


if __name__ == "__main__":
    sys.exit(main())
