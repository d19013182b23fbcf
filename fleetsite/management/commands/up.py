from typing import Any

from django.core.management.base import BaseCommand, CommandError

from fleetsite import supervisor


class Command(BaseCommand):
    help = "Run the whole portal on this machine: servers, web, worker, beat and the agent."
    # manage.py hands `up` to the supervisor before Django is set up; this entry lists it in
    # `manage.py help` and serves callers that come through Django.
    requires_system_checks: list[str] = []

    def handle(self, *_args: Any, **_options: Any) -> None:
        code = supervisor.main()
        if code:
            raise CommandError("The portal did not start.", returncode=code)
