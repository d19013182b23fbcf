"""python-tuf spoken to the portal. Importing this needs the extra `updates`."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Optional
from urllib.parse import quote

from tuf.api import exceptions
from tuf.api.metadata import Metadata, Root
from tuf.api.serialization import DeserializationError
from tuf.ngclient import Updater, UpdaterConfig
from tuf.ngclient.fetcher import FetcherInterface

from fleet_agent.errors import PortalError
from fleet_agent.portal import PortalClient
from fleet_agent.updates.trust_errors import (
    CONTENT,
    ENDLESS_DATA,
    EXPIRED,
    FREEZE,
    MALFORMED,
    MIX_AND_MATCH,
    NETWORK,
    NOT_FOUND,
    ROLLBACK,
    SIGNATURE,
    SLOW_RETRIEVAL,
    STORAGE,
    TrustError,
)

# It tells of every key that did not sign, though others did.
logging.getLogger("tuf").setLevel(logging.WARNING)

METADATA = "/trust/metadata/"
TARGETS = "/trust/targets/"
METADATA_FOLDER = "metadata"
ROOT_BYTES = 512_000
MANIFEST_BYTES = 8 * 1024 * 1024
# Everything a hostile repository can make python-tuf raise.
REFUSALS = (
    exceptions.RepositoryError,
    exceptions.DownloadError,
    ValueError,
    KeyError,
    TypeError,
    OSError,
)


class PortalFetcher(FetcherInterface):
    """Fetches over the agent's own client. `seconds` is for all files together."""

    def __init__(self, portal: PortalClient, *, seconds: float) -> None:
        self._portal = portal
        self._deadline = time.monotonic() + seconds
        # What was asked for last: it tells what a refusal was about.
        self.asked = ""

    def _fetch(self, url: str) -> Iterator[bytes]:
        self.asked = url
        return self._pieces(url)

    def _pieces(self, url: str) -> Iterator[bytes]:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise exceptions.SlowRetrievalError(f"No time was left for {url}")
        try:
            for piece in self._portal.pieces(_quoted(url), seconds=left):
                yield piece
                if time.monotonic() > self._deadline:
                    raise exceptions.SlowRetrievalError(f"{url} came too slowly")
        except PortalError as error:
            if error.status is None:
                raise exceptions.DownloadError(str(error)) from error
            raise exceptions.DownloadHTTPError(str(error), error.status) from error


def _quoted(url: str) -> str:
    """Return what goes over the line: python-tuf quotes names of roles, not those of targets."""
    return quote(url, safe="/") if url.startswith(TARGETS) else url


def checked_root(content: bytes) -> int:
    """Return the version of a root that its own keys have signed. Raises TrustError."""
    try:
        metadata = Metadata[Root].from_bytes(content)
        root = metadata.signed
        if not isinstance(root, Root):
            raise TrustError("The portal's root metadata is of another kind.", code=MALFORMED)
        root.verify_delegate(Root.type, metadata.signed_bytes, metadata.signatures)
    except (exceptions.RepositoryError, ValueError) as error:
        raise refusal(error, "root.json") from error
    return int(root.version)


def fetch_root(portal: PortalClient, *, seconds: float) -> Optional[bytes]:
    """Return the newest root the portal has, or None while it has none. Raises TrustError."""
    fetcher = PortalFetcher(portal, seconds=seconds)
    try:
        return fetcher.download_bytes(f"{METADATA}root.json", ROOT_BYTES)
    except exceptions.DownloadHTTPError as error:
        if error.status_code == 404:
            return None
        raise refusal(error, fetcher.asked) from error
    except REFUSALS as error:
        raise refusal(error, fetcher.asked) from error


class Repository:
    """The organisation's repository as one question sees it: all files of one moment.

    Made from the root this device has pinned; `folder` holds python-tuf's cache, whose root.json
    is one that was checked from here on.
    """

    def __init__(self, portal: PortalClient, *, folder: Path, root: bytes, seconds: float) -> None:
        self._fetcher = PortalFetcher(portal, seconds=seconds)
        # One name for all: only what runs is kept, and by whoever runs it.
        self._kept = folder / "targets" / "manifest.json"
        try:
            self._updater = Updater(
                metadata_dir=str(folder / METADATA_FOLDER),
                metadata_base_url=METADATA,
                target_base_url=TARGETS,
                fetcher=self._fetcher,
                config=UpdaterConfig(root_max_length=ROOT_BYTES, max_delegations=4),
                bootstrap=root,
            )
        except REFUSALS as error:
            raise refusal(error, "root.json") from error

    def refresh(self) -> None:
        """Bring the metadata up to date. Raises TrustError."""
        try:
            self._updater.refresh()
        except REFUSALS as error:
            raise refusal(error, self._fetcher.asked) from error

    def target(self, path: str) -> bytes:
        """Return the bytes of a target that somebody trusted vouches for. Raises TrustError."""
        try:
            info = self._updater.get_targetinfo(path)
            if info is None:
                raise TrustError(
                    f"Nobody the organisation trusts vouches for {path}. It may wait for"
                    " signatures, or was withdrawn.",
                    code=NOT_FOUND,
                )
            if info.length > MANIFEST_BYTES:
                raise TrustError(f"{path} is too long.", code=ENDLESS_DATA)
            if self._updater.find_cached_target(info, str(self._kept)) is None:
                self._updater.download_target(info, str(self._kept))
            return self._kept.read_bytes()
        except REFUSALS as error:
            raise refusal(error, self._fetcher.asked) from error


def refusal(error: Exception, asked: str) -> TrustError:
    """Return the refusal an error of python-tuf stands for; `asked` is the file it was about."""
    code = _code(error, asked)
    name = asked.rpartition("/")[2] or "the metadata"
    if isinstance(error, exceptions.ExpiredMetadataError):
        # It is found out when the next file has been fetched.
        name = str(error).partition(" ")[0]
    return TrustError(f"{_SENTENCES[code].format(name=name)} ({str(error)[:200]})", code=code)


_SENTENCES = {
    ROLLBACK: "The portal went back to something older: {name} is refused.",
    FREEZE: "The portal gives out what is not the newest any more: {name} has expired. Is this"
    " device's clock right?",
    EXPIRED: "The signatures on {name} have expired. Keepers of the organisation's keys have to"
    " renew them.",
    MIX_AND_MATCH: "{name} does not belong to the other files of the repository.",
    ENDLESS_DATA: "{name} is longer than it may be.",
    SLOW_RETRIEVAL: "{name} came too slowly.",
    SIGNATURE: "{name} does not have the signatures it needs.",
    CONTENT: "{name} is not what was signed.",
    MALFORMED: "{name} cannot be read.",
    NOT_FOUND: "The portal does not have {name}.",
    STORAGE: "What was checked cannot be kept on this device.",
    NETWORK: "{name} did not arrive.",
}

_BY_TYPE = (
    (exceptions.DownloadLengthMismatchError, ENDLESS_DATA),
    (exceptions.SlowRetrievalError, SLOW_RETRIEVAL),
    (exceptions.DownloadError, NETWORK),
    (exceptions.UnsignedMetadataError, SIGNATURE),
    (DeserializationError, MALFORMED),
    (OSError, STORAGE),
)


def _code(error: Exception, asked: str) -> str:
    if isinstance(error, exceptions.DownloadHTTPError):
        return NOT_FOUND if error.status_code == 404 else NETWORK
    if isinstance(error, exceptions.LengthOrHashMismatchError):
        return CONTENT if asked.startswith(TARGETS) else MIX_AND_MATCH
    if isinstance(error, exceptions.ExpiredMetadataError):
        is_portals = str(error).startswith(("timestamp", "snapshot"))
        return FREEZE if is_portals else EXPIRED
    if isinstance(error, exceptions.BadVersionNumberError):
        return _version_code(str(error), asked)
    for kind, code in _BY_TYPE:
        if isinstance(error, kind):
            return code
    return _other_code(str(error))


def _version_code(text: str, asked: str) -> str:
    """Tell an older file from one that is not of the set the portal itself named."""
    if text.startswith("Expected snapshot version"):
        return MIX_AND_MATCH
    is_top = asked.endswith((".root.json", "timestamp.json", ".snapshot.json", "root.json"))
    return ROLLBACK if is_top else MIX_AND_MATCH


def _other_code(text: str) -> str:
    if text.startswith("New snapshot is missing"):
        return ROLLBACK
    if "was delegated but is not part of snapshot" in text or text.startswith("Snapshot does not"):
        return MIX_AND_MATCH
    return MALFORMED
