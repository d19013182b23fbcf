"""The command line that tuf-conformance drives (its CLIENT-CLI.md), on the agent's own code.

Each command is a process of its own that has nothing but its disk: the agent's state directory lies
within METADATA_DIR, and what it trusts is copied to where the suite looks.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path
from urllib.parse import quote

from fleet_agent.portal import PortalClient
from fleet_agent.settings import ConfigStore
from fleet_agent.updates.trust import TrustStore
from fleet_agent.updates.trust_errors import TrustError
from fleet_agent.updates.tuf_client import METADATA, TARGETS


class SuitePortal(PortalClient):
    """Asks a server that has the two trees of the portal at addresses of its own."""

    def __init__(self, store: ConfigStore, *, metadata_url: str, targets_url: str) -> None:
        super().__init__(store)
        self._trees = {METADATA: metadata_url, TARGETS: targets_url}

    def address(self, path: str) -> str:
        """Return where the suite serves what the portal has under `path`."""
        for prefix, url in self._trees.items():
            if path.startswith(prefix):
                return f"{url.rstrip('/')}/{path.removeprefix(prefix)}"
        return super().address(path)


def main() -> int:
    options = _options()
    state_dir = options.metadata_dir / "agent"
    state_dir.mkdir(exist_ok=True)
    store = _store(options, state_dir)
    try:
        if options.command == "init":
            store.start_from(options.trusted_root.read_bytes())
        elif options.command == "refresh":
            with store.opened():
                pass
        else:
            _download(store, options.target_name, options.target_dir)
    except TrustError as error:
        print(f"{error.code}: {error}")
        return 1
    finally:
        _show(state_dir, options.metadata_dir)
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="fleet-agent-tuf", description=__doc__)
    parser.add_argument("--metadata-dir", type=Path, required=True)
    parser.add_argument("--metadata-url", default="")
    parser.add_argument("--target-name", action="append", default=[])
    parser.add_argument("--target-dir", type=Path)
    parser.add_argument("--target-base-url", default="")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("init").add_argument("trusted_root", type=Path)
    commands.add_parser("refresh")
    commands.add_parser("download")
    return parser.parse_args()


def _store(options: argparse.Namespace, state_dir: Path) -> TrustStore:
    conf = state_dir / "fleet.conf"
    conf.write_text("FLEET_URL=http://127.0.0.1:9\nDEVICE_ID=conformance\n")
    portal = SuitePortal(
        ConfigStore(conf),
        metadata_url=options.metadata_url,
        targets_url=options.target_base_url,
    )
    return TrustStore(state_dir, portal, "general")


def _download(store: TrustStore, names: list[str], folder: Path) -> None:
    """Ask for one target after the other, as the agent does: each is a question of its own."""
    for name in names:
        with store.opened() as repository:
            content = repository.target(name)
        (folder / quote(name, safe="")).write_bytes(content)


def _show(state_dir: Path, folder: Path) -> None:
    """Copy what the agent trusts to where the suite looks."""
    trusted = state_dir / "trust"
    shown = {path.name: path for path in (trusted / "metadata").glob("*.json")}
    if (trusted / "root.json").exists():
        shown.setdefault("root.json", trusted / "root.json")
    for name, path in shown.items():
        shutil.copyfile(path, folder / name)


if __name__ == "__main__":
    sys.exit(main())
