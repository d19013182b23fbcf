from django.apps import AppConfig

from commands import registry


class CommandsConfig(AppConfig):
    name = "commands"
    verbose_name = "Commands"

    def ready(self) -> None:
        """Let orders of stored scripts be completed by what is stored."""
        from commands import scripts  # models can be imported only now

        registry.prepare_with(name=scripts.KIND, prepare=scripts.prepare)
