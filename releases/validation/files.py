"""Single files: can hooks be executed, do the checksums match, is nothing odd about them."""

import re
from collections.abc import Iterator

from common import limits
from releases.validation.contents import COMPOSE, HOOKS, SUMS, Contents, Entry
from releases.validation.findings import Finding, error, info, warning

KNOWN_HOOKS = ("validate", "stop", "start", "health", "safe-mode")
_SHEBANG = re.compile(rb"^#! ?/\S+")
_ELF = b"\x7fELF"
_SUM = re.compile(r"^([0-9a-fA-F]{64}) [ *](.+)$")
_ANY_EXECUTE, _SET_ID, _WORLD_WRITE = 0o111, 0o6000, 0o002


def check_hooks(contents: Contents) -> Iterator[Finding]:
    """Yield hooks that cannot be started, and names no device looks for."""
    for path, entry in contents.entries.items():
        name = path.removeprefix(HOOKS)
        if name == path:
            continue
        if name in KNOWN_HOOKS:
            yield from _check_hook(path, entry)
        elif "/" not in name and "." not in name:
            yield info("hook", path, f"No hook is called so; known: {', '.join(KNOWN_HOOKS)}.")
    if not contents.compose_path and f"{HOOKS}start" not in contents.entries:
        yield warning("hook", "", "Neither a compose file nor hooks/start: nothing is started.")


def _check_hook(path: str, entry: Entry) -> Iterator[Finding]:
    first_line = entry.start.partition(b"\n")[0]
    if not entry.mode & _ANY_EXECUTE:
        yield error("hook", path, "It is not executable. Set its mode to 0755.")
    if entry.start.startswith(_ELF):
        return
    if not _SHEBANG.match(first_line):
        yield error("hook", path, "It begins neither with a shebang (#!/…) nor as a program.")
    elif first_line.endswith(b"\r"):
        yield error("hook", path, "Its lines end as on another system (CR LF).")


def check_modes(contents: Contents) -> Iterator[Finding]:
    """Yield files whose permissions no application needs."""
    for path, entry in contents.entries.items():
        if entry.mode & _SET_ID:
            yield error("mode", path, "It is set to run as its owner or group (setuid, setgid).")
        elif entry.mode & _WORLD_WRITE:
            yield warning("mode", path, "Everybody may write to it.")


def check_sums(contents: Contents) -> Iterator[Finding]:
    """Yield what SHA256SUMS says otherwise than the files; nothing when there is none."""
    raw = contents.texts.get(SUMS)
    if raw is None:
        if SUMS in contents.entries:
            yield error("checksum", SUMS, f"It has more than {limits.ARTIFACT_TEXT_BYTES} bytes.")
        return
    listed = set()
    for number, line in enumerate(raw.decode("utf-8", "replace").splitlines(), start=1):
        found = _SUM.match(line)
        if found is not None:
            path = found[2].removeprefix("./")
            listed.add(path)
            yield from _check_sum(contents, path, found[1].lower())
        elif line.strip():
            yield error("checksum", SUMS, f"Line {number} is not as sha256sum writes it.")
    for path in sorted(contents.entries.keys() - listed - {SUMS}):
        yield warning("checksum", path, f"{SUMS} does not name it.")


def _check_sum(contents: Contents, path: str, wanted: str) -> Iterator[Finding]:
    entry = contents.entries.get(path)
    if entry is None:
        yield error("checksum", path, f"{SUMS} names it; it is not in the bundle.")
    elif entry.sha256 != wanted:
        yield error("checksum", path, f"It does not have the checksum {SUMS} names.")


def check_root(contents: Contents) -> Iterator[Finding]:
    """Yield a hint when everything lies in one folder: known names are looked for at the top."""
    tops = {path.partition("/")[0] for path in contents.entries}
    if len(tops) != 1:
        return
    (top,) = tops
    inside = {path.partition("/")[2] for path in contents.entries}
    if inside & set(COMPOSE) or any(path.startswith(HOOKS) for path in inside):
        yield error(
            "root", top, f"Everything lies below {top}/. Pack what is in it (tar -C {top})."
        )
