from django.apps import AppConfig

from commands import registry
from releases import kinds


class ReleasesConfig(AppConfig):
    name = "releases"
    verbose_name = "Releases"

    def ready(self) -> None:
        """Add the commands of releases, and let orders of `update` be checked."""
        from releases.services import command_updates  # models can be imported only now

        for kind in kinds.KINDS:
            registry.register(kind)
        registry.prepare_with(name=kinds.UPDATE, prepare=command_updates.prepare)
