from django.apps import AppConfig

from commands import registry
from releases import kinds


class ReleasesConfig(AppConfig):
    name = "releases"
    verbose_name = "Releases"

    def ready(self) -> None:
        """Add the commands of releases."""
        for kind in kinds.KINDS:
            registry.register(kind)
