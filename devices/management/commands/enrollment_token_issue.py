from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from accounts.models import Organization
from common import clock, limits
from devices.services.enrollment import enrollment_token_issue


class Command(BaseCommand):
    help = "Issue an enrolment token; prints its secret and nothing else."

    def add_arguments(self, parser: CommandParser) -> None:
        """Take name, number of devices, seconds to live, and the organisation's slug."""
        parser.add_argument("--name", default="command line")
        parser.add_argument("--max-uses", type=int, default=1)
        parser.add_argument("--expires-in", type=int, default=limits.ENROLLMENT_TTL_S)
        parser.add_argument("--organization", default="")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Print the secret of the new token."""
        organizations = Organization.objects.filter(is_active=True).order_by("created_at")
        if options["organization"]:
            organizations = organizations.filter(slug=options["organization"])
        organization = organizations.first()
        if organization is None:
            raise CommandError("There is no such organisation. Run portal_bootstrap first.")
        _, secret = enrollment_token_issue(
            organization=organization,
            name=options["name"],
            ttl=timedelta(seconds=options["expires_in"]),
            max_uses=options["max_uses"],
            actor=None,
            now=clock.now(),
        )
        self.stdout.write(secret)
