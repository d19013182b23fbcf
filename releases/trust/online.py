"""The portal's own key of each organisation: never stored, made from SIGNING_KEY when needed."""

from securesystemslib.signer import CryptoSigner

from accounts.models import Organization
from common import signing


def online_signer(organization: Organization) -> CryptoSigner:
    """Return what signs as the portal for this organisation. Raises SigningKeyMissing."""
    return CryptoSigner(signing.derived_key(f"tuf:{organization.pk}"))
