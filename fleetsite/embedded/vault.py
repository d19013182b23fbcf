"""The generated secrets of one VAR_DIR, and files that are written whole or not at all."""

import json
import os
import secrets
import tempfile
from pathlib import Path

from fleetsite.embedded.account import Account
from fleetsite.embedded.errors import EmbeddedError

# 32 random bytes each, hex: safe inside URLs, SQL literals and configuration files unquoted.
NAMES = (
    "postgres_password",
    "fleet_password",
    "valkey_password",
    "secret_key",
    "jwt_key",
    "signing_key",
)


def write_private(path: Path, text: str, *, owner: Account | None = None) -> None:
    """Write `path` atomically, readable by its owner only.

    Safe where `owner` could have put a link in the way: the file is created, given away and
    renamed, and nothing is opened that was there before.
    """
    handle, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as out:
            out.write(text)
            out.flush()
            os.fsync(out.fileno())
            if owner is not None and owner.switch:
                os.fchown(out.fileno(), owner.uid, owner.gid)
        Path(draft).replace(path)
    except BaseException:
        Path(draft).unlink(missing_ok=True)
        raise


def read_secrets(path: Path) -> dict[str, str]:
    """The secrets in `path`; empty when there is none.

    Raises EmbeddedError when the file is there but cannot be understood: making new secrets
    would silently end every session and every signature.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as problem:
        raise EmbeddedError(
            f"{path} cannot be read ({problem}); restore it, or remove it to make new secrets."
        ) from None
    if not isinstance(found, dict):
        raise EmbeddedError(f"{path} is not a JSON object; restore it, or remove it.")
    return {str(name): str(value) for name, value in found.items()}


def ensure_secrets(path: Path) -> dict[str, str]:
    """The secrets in `path`, with those that are missing generated and stored."""
    known = read_secrets(path)
    missing = [name for name in NAMES if not known.get(name)]
    if missing:
        known |= {name: secrets.token_hex(32) for name in missing}
        write_private(path, json.dumps(known, indent=1) + "\n")
    return known
