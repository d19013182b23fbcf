"""Finding releases and bundles the way paths name them."""

from uuid import UUID

from django.db.models import QuerySet

from releases.models import ANY_ROLE, Artifact, Release


def named(releases: QuerySet[Release], name: str) -> QuerySet[Release]:
    """Narrow to the release of this version or this id; no version looks like an id."""
    try:
        return releases.filter(pk=UUID(name))
    except ValueError:
        return releases.filter(version=name)


def of_role(artifacts: QuerySet[Artifact], role: str) -> QuerySet[Artifact]:
    """Narrow to the bundle for the role; `any` is the one for every role."""
    return artifacts.filter(role="" if role == ANY_ROLE else role)
