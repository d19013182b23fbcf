from django.apps import AppConfig


class ConsoleConfig(AppConfig):
    name = "console"

    def ready(self) -> None:
        """Listen to what the sign-in library tells."""
        from console import signals  # noqa: F401
