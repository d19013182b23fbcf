"""The compose file: does it parse, and is what it starts pinned."""

import re
from collections.abc import Iterator
from typing import Any

import yaml

from common import limits
from releases.validation.contents import COMPOSE, ENV_TEMPLATE, Contents
from releases.validation.findings import Finding, error, info, warning

# The loader in C where the library brings it: a hundred times faster on what strangers send.
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_DIGEST = re.compile(r"@sha256:[0-9a-f]{64}$")
_VARIABLE = re.compile(
    r"\$(?:(?P<escaped>\$)|(?P<bare>[A-Za-z_]\w*)|\{(?P<name>[A-Za-z_]\w*)(?P<rest>[^}]*)\})",
    re.ASCII,
)
_ASSIGNED = re.compile(r"^\s*(?:export\s+)?([A-Za-z_]\w*)\s*(?:=|$)", re.ASCII)


def check_compose(contents: Contents) -> Iterator[Finding]:
    """Yield what is wrong with the compose file; nothing when the bundle has none."""
    path = contents.compose_path
    if not path:
        yield info("compose", "", "There is no compose file: only the hooks start something.")
        return
    for other in COMPOSE:
        if other in contents.entries and other != path:
            yield warning("compose", other, f"Only {path} is used.")
    raw = contents.texts.get(path)
    if raw is None:
        yield error("compose", path, f"It has more than {limits.ARTIFACT_TEXT_BYTES} bytes.")
        return
    try:
        text = raw.decode()
        _expect_shallow(text)
        document = yaml.load(text, Loader=_LOADER)  # noqa: S506 - both loaders are safe ones
    except (yaml.YAMLError, ValueError, RecursionError, OverflowError) as fault:
        yield error("compose", path, f"It is no YAML: {_one_line(fault)}")
        return
    yield from _check_services(path, document)
    yield from _check_variables(contents, path, text)


def _expect_shallow(text: str) -> None:
    """Raise ValueError for nesting that the loader, which recurses, would die of."""
    depth = 0
    for event in yaml.parse(text, Loader=_LOADER):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > limits.JSON_DEPTH:
            raise ValueError(f"nesting is deeper than {limits.JSON_DEPTH}")


def _one_line(fault: Exception) -> str:
    return " ".join(str(fault).split()) or type(fault).__name__


def _check_services(path: str, document: Any) -> Iterator[Finding]:
    services = document.get("services") if isinstance(document, dict) else None
    if not isinstance(services, dict) or not services:
        yield error("compose", path, "It names no services.")
        return
    for name, service in services.items():
        shown = str(name)[: limits.SHORT_CHARS]
        if not isinstance(service, dict):
            yield error("compose", path, f"The service {shown} is no mapping.")
        elif "image" in service:
            yield from _check_image(path, shown, service["image"])
        elif "build" in service:
            yield error("image", path, f"{shown} is built on the device. Push an image, pin it.")
        elif "extends" not in service:
            yield error("image", path, f"The service {shown} names no image.")


def _check_image(path: str, service: str, image: Any) -> Iterator[Finding]:
    if not isinstance(image, str) or not image.strip():
        yield error("image", path, f"The image of {service} is no name.")
        return
    if _DIGEST.search(image):
        return
    shown = image[:120]
    tag = image.rpartition("/")[2].partition(":")[2]
    if "$" in image:
        yield warning("image", path, f"{service}: {shown} depends on a variable.")
    elif "@" in image:
        yield error("image", path, f"{service}: {shown} has a digest that is none.")
    elif not tag or tag == "latest":
        yield error("image", path, f"{service}: {shown} may be any image. Pin it by its digest.")
    else:
        yield warning("image", path, f"{service}: the tag of {shown} can move. Pin it by digest.")


def _check_variables(contents: Contents, path: str, text: str) -> Iterator[Finding]:
    """Every variable without a default has to be in the template, with or without a value."""
    needed = dict.fromkeys(_needed(text))
    raw = contents.texts.get(ENV_TEMPLATE)
    if raw is None:
        if ENV_TEMPLATE in contents.entries:
            yield error("env", ENV_TEMPLATE, f"More than {limits.ARTIFACT_TEXT_BYTES} bytes.")
        elif needed:
            names = ", ".join(needed)
            yield error("env", path, f"It needs {names}; there is no {ENV_TEMPLATE}.")
        return
    lines = raw.decode("utf-8", "replace").splitlines()
    given = {found[1] for line in lines if (found := _ASSIGNED.match(line))}
    for name in needed:
        if name not in given:
            yield error("env", ENV_TEMPLATE, f"{name} is missing; {path} needs it.")


def _needed(text: str) -> Iterator[str]:
    # What stands behind a “#” at the start of a line is no part of the file.
    kept = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    for found in _VARIABLE.finditer(kept):
        if found["escaped"]:
            continue
        # `:-`, `-`: a default. `:+`, `+`: may be unset.
        if found["name"] and found["rest"].lstrip(":")[:1] in {"-", "+"}:
            continue
        yield found["bare"] or found["name"]
