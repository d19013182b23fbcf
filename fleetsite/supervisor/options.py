"""What the environment says about this start."""

import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fleetsite.supervisor.errors import UpError

PROJECT = Path(__file__).resolve().parents[2]
HIGHEST_PORT = 65535
YES = {"1", "true", "yes", "on"}
NO = {"0", "false", "no", "off"}
EVERY_ADDRESS = {"0.0.0.0", "::"}  # noqa: S104 - compared with, never bound here


@dataclass(frozen=True)
class Options:
    """The settings of `up`. Everything else in the environment goes to the processes as it is."""

    var_dir: Path
    host: str
    port: int
    enroll_this_machine: bool
    database_url: str | None
    redis_url: str | None
    admin_password: str | None

    def urls(self) -> dict[str, str]:
        """The servers that were named, for the processes' environment."""
        named = {"DATABASE_URL": self.database_url, "REDIS_URL": self.redis_url}
        return {name: url for name, url in named.items() if url is not None}

    @property
    def local_url(self) -> str:
        """Where processes of this machine reach the portal."""
        host = "127.0.0.1" if self.host in EVERY_ADDRESS else self.host
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}"

    @property
    def public_url(self) -> str:
        """What a person opens; an address other machines reach when every address is served."""
        if self.host in EVERY_ADDRESS:
            return f"http://{_outward_address()}:{self.port}"
        return self.local_url


def _outward_address() -> str:
    """This machine's address towards others; asking for the route sends nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
            return str(probe.getsockname()[0])
        except OSError:
            return "127.0.0.1"


def options_from(environ: Mapping[str, str]) -> Options:
    """Raises UpError naming the variable and what it may be."""
    return Options(
        var_dir=Path(environ.get("VAR_DIR") or PROJECT / "var").absolute(),
        host=_host(environ.get("HOST") or "127.0.0.1"),
        port=_port(environ.get("PORT") or "8000"),
        enroll_this_machine=_flag(environ, "ENROLL_THIS_MACHINE", default=True),
        database_url=_secret(environ, "DATABASE_URL"),
        redis_url=_secret(environ, "REDIS_URL"),
        admin_password=_secret(environ, "FLEET_ADMIN_PASSWORD"),
    )


def _port(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,5}", text) or not 1 <= int(text) <= HIGHEST_PORT:
        raise UpError(f"PORT={text} is not a port; it takes a number from 1 to {HIGHEST_PORT}.")
    return int(text)


def _host(text: str) -> str:
    try:
        socket.getaddrinfo(text, None, flags=socket.AI_PASSIVE)
    except OSError:
        raise UpError(
            f"HOST={text} is not an address of this machine; it takes one like 127.0.0.1 or "
            "0.0.0.0 (every address)."
        ) from None
    return text


def _secret(environ: Mapping[str, str], name: str) -> str | None:
    """NAME, or the content of the file that NAME_FILE points at."""
    path = environ.get(f"{name}_FILE")
    if environ.get(name) or not path:
        return environ.get(name) or None
    try:
        return Path(path).read_text(encoding="utf-8").strip() or None
    except OSError as problem:
        raise UpError(f"{name}_FILE={path} cannot be read ({problem.strerror}).") from None


def _flag(environ: Mapping[str, str], name: str, *, default: bool) -> bool:
    text = environ.get(name, "").lower()
    if not text:
        return default
    if text not in YES | NO:
        raise UpError(f"{name}={text} is neither yes nor no; it takes 1 or 0.")
    return text in YES


def masked(url: str) -> str:
    """`url` without its password and query, for messages."""
    shape = re.fullmatch(
        r"(?P<scheme>[a-z+]+)://(?:(?P<who>.*)@)?(?P<rest>[^@?#]*)(?:[?#].*)?", url, re.DOTALL
    )
    if shape is None:
        return "a text that is not a URL"
    who = shape["who"]
    user = f"{who.partition(':')[0]}:***@" if who else ""
    return f"{shape['scheme']}://{user}{shape['rest']}"
