"""The pair of servers one VAR_DIR needs, and where another process finds them."""

import json
import os
from pathlib import Path

import psutil

from fleetsite.embedded.binaries import programs_for
from fleetsite.embedded.errors import EmbeddedError
from fleetsite.embedded.layout import prepare_home
from fleetsite.embedded.postgres import EmbeddedPostgres
from fleetsite.embedded.valkey import EmbeddedValkey
from fleetsite.embedded.vault import ensure_secrets, read_secrets, write_private

Server = EmbeddedPostgres | EmbeddedValkey


class Servers:
    """The embedded servers of one directory: both, or the one no URL was given for."""

    def __init__(
        self,
        *,
        directory: Path,
        postgres: bool = True,
        valkey: bool = True,
        durable: bool = True,
    ) -> None:
        self.directory = directory
        for name in ("run", "logs"):
            (directory / name).mkdir(parents=True, mode=0o700, exist_ok=True)
        self.secrets = ensure_secrets(directory / "secrets.json")
        self.parts: list[Server] = []
        if not (postgres or valkey):
            return
        home = prepare_home(directory)
        kinds = [EmbeddedPostgres] * postgres + [EmbeddedValkey] * valkey
        for kind in kinds:
            self.parts.append(
                kind(
                    home=home,
                    programs=programs_for(home),
                    secrets=self.secrets,
                    log=directory / "logs" / f"{kind.name}.log",
                    durable=durable,
                )
            )

    def start(self) -> None:
        """Start all at once and note their addresses for other processes."""
        try:
            for server in self.parts:
                server.launch()
            for server in self.parts:
                server.wait_ready()
        except BaseException:
            self.stop()
            raise
        write_private(self._note, json.dumps({"pid": os.getpid(), "urls": self.urls()}))

    def stop(self) -> None:
        self._note.unlink(missing_ok=True)
        for server in reversed(self.parts):
            server.stop()

    @property
    def _note(self) -> Path:
        return self.directory / "run" / "servers.json"

    def urls(self) -> dict[str, str]:
        """DATABASE_URL and REDIS_URL of the servers that are ours."""
        names = {EmbeddedPostgres.name: "DATABASE_URL", EmbeddedValkey.name: "REDIS_URL"}
        return {names[server.name]: server.url for server in self.parts}

    def keys(self) -> dict[str, str]:
        """SECRET_KEY, JWT_KEY and SIGNING_KEY."""
        return keys_of(self.secrets)


def keys_of(secrets: dict[str, str]) -> dict[str, str]:
    return {
        "SECRET_KEY": secrets["secret_key"],
        "JWT_KEY": secrets["jwt_key"],
        "SIGNING_KEY": secrets.get("signing_key", ""),
    }


def environment(var_dir: str | Path) -> dict[str, str]:
    """The addresses of the servers and the three keys of the portal that runs on `var_dir`.

    Reads two small files and starts nothing. Names for which `make up` was given a value of its
    own are absent. Raises EmbeddedError when nothing runs there.
    """
    directory = Path(var_dir)
    try:
        note = json.loads((directory / "run" / "servers.json").read_text(encoding="utf-8"))
        alive = psutil.pid_exists(int(note["pid"]))
    except PermissionError:
        raise EmbeddedError(
            f"{directory} belongs to another user; run this as the user who ran `make up`."
        ) from None
    except (OSError, ValueError, KeyError, TypeError):
        alive = False
    if not alive:
        raise EmbeddedError(
            f"No portal is running on {directory}: start `make up` first or set DATABASE_URL."
        )
    return {**note["urls"], **keys_of(read_secrets(directory / "secrets.json"))}
