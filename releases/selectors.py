"""Finding releases and bundles the way paths name them."""

from contextlib import suppress
from uuid import UUID

from django.db.models import Case, IntegerField, Q, QuerySet, Value, When

from releases.models import ANY_ROLE, Artifact, Release


def named(releases: QuerySet[Release], name: str) -> QuerySet[Release]:
    """Narrow to the release of this version or this id; a version wins over an id."""
    wanted = Q(version=name)
    with suppress(ValueError):
        wanted |= Q(pk=UUID(name))
    first = Case(When(version=name, then=Value(0)), default=Value(1), output_field=IntegerField())
    return releases.filter(wanted).order_by(first)


def of_role(artifacts: QuerySet[Artifact], role: str) -> QuerySet[Artifact]:
    """Narrow to the bundle for the role; `any` is the one for every role."""
    return artifacts.filter(role="" if role == ANY_ROLE else role)
