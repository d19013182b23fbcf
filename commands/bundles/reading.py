"""Looking into kept bundles: a page of lines, a search, the archive itself."""

import time
import zipfile
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from django.core.files.base import File
from django.core.files.storage import default_storage
from django.db import transaction

from audit import services as audit
from audit.services import Actor
from commands.bundles.contents.rewriting import TEXT
from commands.errors import BundleNotReady, NoSuchFile, NotText
from commands.models import SupportBundle
from common import limits

_SHOWN_CHARS = 1_000


@dataclass(frozen=True)
class Line:
    """A line and its number, counted from 1."""

    number: int
    text: str


@dataclass(frozen=True)
class Page:
    """Some lines of a file; `next_offset` is None at its end."""

    path: str
    total: int
    offset: int
    lines: list[Line]
    next_offset: int | None


@dataclass
class Match:
    """A line that holds what was searched, and the lines around it."""

    path: str
    line: int
    text: str
    before: list[str]
    after: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Found:
    """The result of a search; `is_cut` when there was more than it may return or take."""

    matches: list[Match]
    is_cut: bool


def entry_of(bundle: SupportBundle, path: str) -> dict[str, Any]:
    """Return the manifest's entry of a text file. Raises what its errors say."""
    _expect_ready(bundle)
    entry = next((one for one in bundle.manifest if one["path"] == path), None)
    if entry is None:
        raise NoSuchFile("The bundle holds no file of this name; its `manifest` lists them.")
    if entry["kind"] != TEXT:
        raise NotText(f"{path} is not text. Download the bundle to look into it.")
    found: dict[str, Any] = entry
    return found


def first_text(bundle: SupportBundle) -> str:
    """Return the path of the first text file. Raises NoSuchFile when there is none."""
    _expect_ready(bundle)
    for entry in bundle.manifest:
        if entry["kind"] == TEXT:
            return str(entry["path"])
    raise NoSuchFile("The bundle holds no text.")


def bundle_lines(bundle: SupportBundle, *, path: str, offset: int, limit: int) -> Page:
    """Return at most `limit` lines after the first `offset`; an offset below 0 counts from the end.

    A page ends early at `limits.BUNDLE_PAGE_BYTES`.
    """
    total = int(entry_of(bundle, path)["lines"])
    start = max(0, total + offset) if offset < 0 else offset
    lines: list[Line] = []
    size = 0
    with _opened(bundle) as archive:
        for number, text in _numbered(archive, path):
            if number <= start:
                continue
            size += len(text)
            if len(lines) >= limit or (lines and size > limits.BUNDLE_PAGE_BYTES):
                break
            lines.append(Line(number, text))
    after = start + len(lines)
    return Page(path, total, start, lines, after if lines and after < total else None)


def bundle_search(bundle: SupportBundle, *, query: str, path: str = "", context: int = 2) -> Found:
    """Find lines that hold `query`, in any case, in one file or in all. Plain text, no pattern."""
    _expect_ready(bundle)
    paths = [one["path"] for one in bundle.manifest if one["kind"] == TEXT]
    if path:
        entry_of(bundle, path)
        paths = [path]
    if not query:
        return Found([], is_cut=False)
    wanted, ends = query.casefold(), time.monotonic() + limits.BUNDLE_SEARCH_S
    matches: list[Match] = []
    with _opened(bundle) as archive:
        for name in paths:
            for match in _matches(archive, name, wanted, context, ends):
                if match is None or len(matches) >= limits.BUNDLE_SEARCH_MATCHES:
                    return Found(matches, is_cut=True)
                matches.append(match)
    return Found(matches, is_cut=False)


@transaction.atomic
def bundle_read(*, bundle: SupportBundle, actor: Actor) -> "File[bytes]":
    """Open the kept archive for download; reading it is written to the log."""
    _expect_ready(bundle)
    opened: File[bytes] = bundle.file.open("rb")
    audit.record(
        actor=actor, organization=bundle.organization, action="bundle.download", target=bundle
    )
    return opened


def text_of(bundle: SupportBundle, path: str, *, most_lines: int) -> list[str]:
    """Return the first lines of a text file of a ready bundle."""
    page = bundle_lines(bundle, path=path, offset=0, limit=most_lines)
    return [line.text for line in page.lines]


def _expect_ready(bundle: SupportBundle) -> None:
    if bundle.status == SupportBundle.Status.REFUSED:
        raise BundleNotReady(f"The bundle was refused: {bundle.error}")
    if bundle.status != SupportBundle.Status.READY:
        raise BundleNotReady("The bundle is still being received or processed. Ask again soon.")


@contextmanager
def _opened(bundle: SupportBundle) -> Iterator[zipfile.ZipFile]:
    try:
        with (
            default_storage.open(str(bundle.file.name), "rb") as file,
            zipfile.ZipFile(file) as archive,
        ):
            yield archive
    except FileNotFoundError:
        raise BundleNotReady("The bundle is no longer stored.") from None


def _numbered(archive: zipfile.ZipFile, path: str) -> Iterator[tuple[int, str]]:
    with archive.open(path) as body:
        for number, raw in enumerate(body, start=1):
            yield number, raw.rstrip(b"\n").decode("utf-8", "replace")


def _matches(
    archive: zipfile.ZipFile, path: str, wanted: str, context: int, ends: float
) -> Iterator[Match | None]:
    """Yield the matches of a file, None when the time is over."""
    before: deque[str] = deque(maxlen=context)
    open_ones: deque[Match] = deque()
    for number, text in _numbered(archive, path):
        if number % 1_000 == 0 and time.monotonic() > ends:
            yield None
            return
        shown = text[:_SHOWN_CHARS]
        for match in open_ones:
            match.after.append(shown)
        while open_ones and len(open_ones[0].after) >= context:
            yield open_ones.popleft()
        at = text.casefold().find(wanted)
        if at >= 0:
            cut = max(0, at - _SHOWN_CHARS // 2) if at + len(wanted) > _SHOWN_CHARS else 0
            match = Match(path, number, text[cut : cut + _SHOWN_CHARS], list(before))
            if context:
                open_ones.append(match)
            else:
                yield match
        before.append(shown)
    yield from open_ones
