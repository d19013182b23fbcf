"""Offline keys, ceremonies and releases for tests of trust."""

from functools import cache

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from securesystemslib.signer import CryptoSigner, SSlibKey

from accounts.models import Organization
from common import clock
from releases.models import Release
from releases.services.manifests import manifests_publish
from releases.services.trust_ceremony import trust_init
from releases.services.trust_drafts import Imported, drafts_of, signatures_add
from releases.tests.factories import ArtifactFactory, ReleaseFactory, published
from releases.trust.roles import Keys, parsed


@cache
def offline(name: str) -> CryptoSigner:
    """Return the key of a keeper of that name: always the same."""
    seed = name.encode().ljust(32, b".")[:32]
    return CryptoSigner(Ed25519PrivateKey.from_private_bytes(seed))


def keys(*names: str, threshold: int) -> Keys:
    return Keys(tuple(public(name) for name in names), threshold)


def public(name: str) -> SSlibKey:
    key = offline(name).public_key
    key.unrecognized_fields["x-fleet-holder"] = name
    return key


def signature(organization: Organization, role: str, name: str) -> dict[str, str]:
    """Return a keeper's signature on what waits for the role."""
    waiting = parsed(bytes(drafts_of(organization)[role].content))
    made = offline(name).sign(waiting.signed_bytes)
    return {"keyid": made.keyid, "sig": made.signature}


def sign(organization: Organization, role: str, *names: str) -> Imported:
    """Sign what waits as these keepers and hand it in."""
    given = [signature(organization, role, name) for name in names]
    return signatures_add(
        organization=organization, role=role, signatures=given, actor=None, now=clock.now()
    )


def begun(organization: Organization) -> None:
    """Begin a ceremony: 2 of 3 custodians, 2 of 3 for general."""
    trust_init(
        organization=organization,
        root=keys("ada", "bob", "cyd", threshold=2),
        general=keys("dan", "eve", "fay", threshold=2),
        actor=None,
        now=clock.now(),
    )


def held(organization: Organization) -> None:
    """Hold a whole ceremony."""
    begun(organization)
    sign(organization, "root", "ada", "bob")
    sign(organization, "targets", "ada", "bob")
    sign(organization, "general", "dan", "eve")


def release_of(organization: Organization, version: str, *, counter: int = 1) -> Release:
    """Publish a release with one bundle for every role, its manifests included."""
    release: Release = ReleaseFactory(organization=organization, version=version)
    ArtifactFactory(release=release, files=[])
    release = published(release, counter=counter)
    manifests_publish(release=release, actor=None, now=clock.now())
    return release
