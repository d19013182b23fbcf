"""Links to one bundle that work for a few minutes and for nothing else."""

import hashlib
import hmac
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings

from common import limits
from releases.errors import LinkRefused
from releases.models import Artifact, Release
from releases.selectors import of_role
from releases.storages import artifact_storage, is_local

PREFIX = "/api/v1"
# GET and HEAD are one class: what the second says, the first says too.
METHOD = "GET"
_KEY_ID_CHARS = 8


@dataclass(frozen=True)
class Link:
    """A link and the seconds it works."""

    url: str
    expires_in_s: int


@dataclass(frozen=True)
class Signed:
    """What a link carries: its end in Unix seconds, the id of the key, the HMAC in hex."""

    expires: int
    key: str
    signature: str


def bundle_link(*, artifact: Artifact, now: datetime) -> Link:
    """Return a link to the bundle for whoever holds it, for GET and HEAD only.

    Where settings say so it leads to the store itself and carries the store's own signature.
    """
    if settings.ARTIFACT_PRESIGNED and not is_local():
        url = artifact_storage().url(str(artifact.file.name))
        return Link(url=url, expires_in_s=limits.ARTIFACT_LINK_S)
    ends = int((now + timedelta(seconds=limits.ARTIFACT_LINK_S)).timestamp())
    path = bundle_path(role=artifact.role_name, release=str(artifact.release_id))
    key_id, key = next(_keys())
    signature = _signature(key, path=path, artifact=artifact, expires=ends)
    return Link(
        url=f"{settings.FLEET_URL}{path}?expires={ends}&key={key_id}&signature={signature}",
        expires_in_s=limits.ARTIFACT_LINK_S,
    )


def bundle_path(*, role: str, release: str) -> str:
    """Return the path of a bundle; `release` is an id or a version."""
    return f"{PREFIX}/artifacts/{role}/{release}/bundle"


def link_open(*, role: str, release: str, signed: Signed, now: datetime) -> Artifact:
    """Return the bundle a link was made for, without any other proof.

    Raises LinkRefused alike for whatever is wrong: altered, expired, of another bundle, unknown.
    """
    refusal = LinkRefused("The link is not valid, or not any more. Ask for a new one.")
    left = signed.expires - now.timestamp()
    if not 0 < left <= limits.ARTIFACT_LINK_S + 1:
        raise refusal
    artifact = _artifact(role=role, release=release)
    key = dict(_keys()).get(signed.key)
    if artifact is None or key is None:
        raise refusal
    path = bundle_path(role=role, release=release)
    wanted = _signature(key, path=path, artifact=artifact, expires=signed.expires)
    if not hmac.compare_digest(wanted.encode(), signed.signature.encode()):
        raise refusal
    return artifact


def _artifact(*, role: str, release: str) -> Artifact | None:
    """Return the bundle of a release that is published, by the release's id alone."""
    try:
        pk = UUID(release)
    except ValueError:
        return None
    rows = of_role(Artifact.objects.stored().select_related("release"), role)
    return rows.filter(release_id=pk, release__state=Release.State.PUBLISHED).first()


def _signature(key: bytes, *, path: str, artifact: Artifact, expires: int) -> str:
    bound = [METHOD, path, str(artifact.pk), str(artifact.organization_id), str(expires)]
    return hmac.new(key, "\n".join(bound).encode(), hashlib.sha256).hexdigest()


def _keys() -> Iterator[tuple[str, bytes]]:
    """Yield id and key of every secret of the portal, the present one first."""
    for secret in [settings.SECRET_KEY, *map(str, settings.SECRET_KEY_FALLBACKS)]:
        key = HKDF(algorithm=SHA256(), length=32, salt=None, info=b"artifact-link").derive(
            secret.encode()
        )
        yield hashlib.sha256(key).hexdigest()[:_KEY_ID_CHARS], key
