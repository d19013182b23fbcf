"""Links to one bundle that work for a few minutes and for nothing else."""

from dataclasses import dataclass
from datetime import datetime

from releases.models import Artifact


@dataclass(frozen=True)
class Link:
    """A link and the seconds it works."""

    url: str
    expires_in_s: int


def bundle_link(*, artifact: Artifact, now: datetime) -> Link:
    """Return a link to the bundle for whoever holds it, for GET and HEAD only."""
    raise NotImplementedError
