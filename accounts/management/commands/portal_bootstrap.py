import json
import os
import secrets
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import transaction

from accounts.models import Organization, User
from accounts.policy import Role
from accounts.services import organizations as services
from common import db


class Command(BaseCommand):
    help = "Make the first organisation and administrator, once; prints one line of JSON."

    def handle(self, *_args: Any, **_options: Any) -> None:
        """Print {"created", "email", "password", "organization"}; the password only when made up.

        FLEET_ADMIN_EMAIL, FLEET_ADMIN_PASSWORD and FLEET_ORGANIZATION preset what is made;
        FLEET_ADMIN_PASSWORD_FILE names a file that holds the password.
        """
        self.stdout.write(json.dumps(bootstrap()))


def _preset_password() -> str:
    """Return the password of the environment or of its file; empty when there is none."""
    path = os.environ.get("FLEET_ADMIN_PASSWORD_FILE")
    if os.environ.get("FLEET_ADMIN_PASSWORD") or not path:
        return os.environ.get("FLEET_ADMIN_PASSWORD", "")
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(
            f"FLEET_ADMIN_PASSWORD_FILE cannot be read: {type(error).__name__}. Name a file of"
            " UTF-8 text this process may read."
        ) from None


@transaction.atomic
def bootstrap() -> dict[str, Any]:
    """Make what a fresh portal needs to be signed in to; a second run makes nothing."""
    # Two starts at once must not make two administrators.
    db.fetch_one("SELECT pg_advisory_xact_lock(hashtext('portal_bootstrap'))::text")
    first = User.objects.filter(is_superuser=True).order_by("created_at").first()
    if first is not None:
        return {"created": False, "email": first.email, "password": None, "organization": None}
    email = os.environ.get("FLEET_ADMIN_EMAIL") or "admin@fleet.local"
    password = _preset_password() or secrets.token_urlsafe(12)
    name = os.environ.get("FLEET_ORGANIZATION") or "My fleet"
    organization = Organization.objects.order_by("created_at").first()
    if organization is None:
        organization = services.organization_create(name=name, slug="main", actor=None)
    membership, _ = services.member_add(
        organization=organization, email=email, role=Role.ADMIN, password=password, actor=None
    )
    User.objects.filter(pk=membership.user_id).update(is_superuser=True)
    return {
        "created": True,
        "email": membership.user.email,
        "password": password,
        "organization": organization.slug,
    }
