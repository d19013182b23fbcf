"""What the static checks find in bundles, and that no bundle harms who reads it."""

import gzip
import hashlib
import io
import random
import tarfile
from typing import Any

import pytest

from common import limits
from releases.services.bundle_reports import bundle_check
from releases.tests.bundles import COMPOSE, GOOD, bundle
from releases.validation.report import Report, report_on


def found(report: Report) -> set[tuple[str, str, str]]:
    return {(one["severity"], one["rule"], one["path"]) for one in report.findings}


def looked_at(files: dict[str, Any], **how: Any) -> set[tuple[str, str, str]]:
    return found(report_on(io.BytesIO(bundle(files, **how))))


def test_a_good_bundle_has_no_findings_and_all_its_checksums():
    report = report_on(io.BytesIO(bundle()))

    assert report.findings == []
    assert report.compose_path == "compose.yml"
    assert {one["path"]: one["sha256"] for one in report.files} == {
        name: hashlib.sha256(str(text).encode()).hexdigest() for name, text in GOOD.items()
    }
    assert {one["path"]: one["mode"] for one in report.files}["hooks/health"] == "0755"


@pytest.mark.parametrize(
    ("image", "severity"),
    [
        ("app", "error"),
        ("app:latest", "error"),
        ("registry:5000/app", "error"),
        ("registry:5000/app:latest", "error"),
        ("app@sha256:1234", "error"),
        ("[]", "error"),
        ("''", "error"),
        ("app:1.2", "warning"),
        ("registry:5000/app:1.2", "warning"),
        ("app:${TAG:-1}", "warning"),
        ("app@sha256:" + "b" * 64, ""),
        ("app:1.2@sha256:" + "b" * 64, ""),
    ],
)
def test_every_image_has_to_be_pinned(image: str, severity: str):
    seen = looked_at({"compose.yml": f"services:\n  app:\n    image: {image}\n"})

    assert seen == ({(severity, "image", "compose.yml")} if severity else set())


@pytest.mark.parametrize(
    "text",
    [
        "services: [",
        "services:\n  a: &a [*a]",
        "services: {}",
        "[]",
        "",
        "version: 3",
        "services:\n  app: 1",
        "!!python/object/apply:os.system ['true']",
        random.Random(1).randbytes(limits.ARTIFACT_TEXT_BYTES // 2 + 1).hex(),  # noqa: S311
        "[" * 50_000,
        "\x00",
        "? [a]\n: b",
    ],
    ids=range(12),
)
def test_a_compose_file_that_is_none_is_an_error(text: str):
    assert ("error", "compose", "compose.yml") in looked_at({"compose.yml": text})


def test_aliases_that_multiply_cost_nothing():
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [" + ", ".join([f"*a{n - 1}"] * 10) + "]" for n in range(1, 30)]
    text = "\n".join([*lines, COMPOSE])

    assert looked_at({"compose.yml": text}) == set()


@pytest.mark.parametrize(
    ("use", "template", "is_missing"),
    [
        ("${PORT}", None, True),
        ("${PORT}", "", True),
        ("${PORT}", "# PORT=1\n", True),
        ("${PORT}", "PORT=\n", False),
        ("${PORT}", "PORT\n", False),
        ("${PORT}", "export PORT=1\n", False),
        ("$PORT", "OTHER=1\n", True),
        ("${PORT:?say where}", "OTHER=1\n", True),
        ("${PORT:-8080}", None, False),
        ("${PORT-8080}", None, False),
        ("${PORT:+x}", None, False),
        ("$${PORT}", None, False),
    ],
)
def test_every_variable_without_a_default_is_in_the_template(
    use: str, template: str | None, is_missing: bool
):
    files: dict[str, Any] = {"compose.yml": COMPOSE + f"    command: x {use}\n"}
    files |= {} if template is None else {"env.template": template}

    assert {rule for _, rule, _ in looked_at(files)} == ({"env"} if is_missing else set())


@pytest.mark.parametrize(
    ("text", "mode", "is_fine"),
    [
        ("#!/bin/sh\n", 0o755, True),
        (b"\x7fELF\x02", 0o755, True),
        ("#! /usr/bin/env python3\n", 0o700, True),
        ("#!/bin/sh\n", 0o644, False),
        ("echo\n", 0o755, False),
        ("", 0o755, False),
        ("#!/bin/sh\r\necho\r\n", 0o755, False),
    ],
)
def test_a_hook_has_to_be_something_a_device_can_start(text: Any, mode: int, is_fine: bool):
    seen = looked_at({"hooks/start": text}, modes={"hooks/start": mode})

    assert (("error", "hook", "hooks/start") not in seen) == is_fine


def test_the_list_of_checksums_is_compared_when_there_is_one():
    right = hashlib.sha256(b"a").hexdigest()
    files = {"a": "a", "b": "b", "c": "c", "hooks/start": "#!/bin/sh\n"}
    sums = f"{right}  ./a\n{right} *b\n{right}  gone\nnonsense\n"

    seen = {(s, p) for s, rule, p in looked_at({**files, "SHA256SUMS": sums}) if rule == "checksum"}

    assert seen == {
        ("error", "b"),
        ("error", "gone"),
        ("error", "SHA256SUMS"),
        ("warning", "c"),
        ("warning", "hooks/start"),
    }


def test_odd_permissions_and_a_wrapping_folder_are_told():
    seen = looked_at({"a": "a", "b": "b"}, modes={"a": 0o4755, "b": 0o666})
    wrapped = looked_at({"app-1/compose.yml": COMPOSE})

    assert {("error", "mode", "a"), ("warning", "mode", "b")} <= seen
    assert ("error", "root", "app-1") in wrapped


# --- archives nobody means well with ---


def packed(*members: tarfile.TarInfo, body: bytes = b"") -> bytes:
    into = io.BytesIO()
    with tarfile.open(fileobj=into, mode="w") as archive:
        for member in members:
            archive.addfile(member, io.BytesIO(body[: member.size]))
    return gzip.compress(into.getvalue(), mtime=0)


def member(name: str, **fields: Any) -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    for field, value in fields.items():
        setattr(made, field, value)
    return made


HOSTILE = {
    "no gzip": b"PK\x03\x04 zip",
    "nothing": b"",
    "cut off": bundle()[:-20],
    "no tar": gzip.compress(b"x" * 2048),
    "no files": packed(),
    "only a folder": packed(member("a", type=tarfile.DIRTYPE)),
    "absolute": packed(member("/etc/passwd")),
    "up": packed(member("a/../../b")),
    "backslash": packed(member("a\\b")),
    "line end": packed(member("a\nb")),
    "turned text": packed(member("a\u202eb")),
    "long name": packed(member("a" * 300)),
    "symbolic link": packed(member("a", type=tarfile.SYMTYPE, linkname="/etc")),
    "hard link": packed(member("a", type=tarfile.LNKTYPE, linkname="b")),
    "device": packed(member("a", type=tarfile.CHRTYPE)),
    "pipe": packed(member("a", type=tarfile.FIFOTYPE)),
    "twice": packed(member("a"), member("./a")),
    "twice but for case": packed(member("a"), member("A")),
    "file and folder": packed(member("a"), member("a/b")),
    "bomb": gzip.compress(b"\0" * 40_000_000, compresslevel=9),
    "trailing": bundle() + b"more",
}


@pytest.mark.parametrize("archive", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_archive_is_one_error_and_nothing_else(archive: bytes):
    report = report_on(io.BytesIO(archive))

    assert found(report) == {("error", "archive", "")}
    assert (report.files, report.compose_path) == ([], "")


def test_too_many_members_are_refused():
    files = {f"f{number}": b"" for number in range(limits.ARTIFACT_MEMBERS + 1)}

    assert found(report_on(io.BytesIO(bundle(files)))) == {("error", "archive", "")}


def test_the_reader_is_a_process_with_limits_of_its_own(settings: Any, tmp_path: Any):
    settings.MEDIA_ROOT = tmp_path

    good = bundle_check(io.BytesIO(bundle()))
    bomb = bundle_check(io.BytesIO(HOSTILE["bomb"]))

    assert good.findings == []
    assert len(good.files) == len(GOOD)
    assert found(bomb) == {("error", "archive", "")}
    assert list((tmp_path / "releases" / "staging").iterdir()) == []


def test_a_reader_that_dies_is_a_fault_of_the_bundle(
    settings: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
):
    settings.MEDIA_ROOT = tmp_path
    monkeypatch.setattr(limits, "ARTIFACT_READER_WALL_S", 0)

    assert found(bundle_check(io.BytesIO(bundle()))) == {("error", "archive", "")}
