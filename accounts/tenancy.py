"""The only way in: rows are reached through `visible_to`."""

from typing import Protocol, Self, TypeVar
from uuid import UUID

from django.db import models

Row = TypeVar("Row", bound=models.Model)


class Viewer(Protocol):
    """What a question for rows needs to know of whoever asks."""

    @property
    def sees_all(self) -> bool: ...
    @property
    def organization_id(self) -> UUID | None: ...


class TenantQuerySet(models.QuerySet[Row]):
    """Base for every model that belongs to an organisation."""

    def visible_to(self, principal: Viewer) -> Self:
        """Rows of the organisation the principal acts in; no rows when in doubt."""
        if principal.sees_all:
            return self.all()
        if principal.organization_id is None:
            return self.none()
        return self.filter(organization_id=principal.organization_id)
