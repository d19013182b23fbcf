"""Stored scripts for tests: as the service stores them, without an entry in the log."""

from typing import Any

from accounts.models import Organization
from commands.models import Script, ScriptVersion
from commands.scripts import arguments_schema, signed_document
from common import clock, signing


def stored_script(
    organization: Organization, name: str = "greet", body: str = "echo hi\n", **fields: Any
) -> Script:
    """Return a script with one signed version."""
    now = clock.now()
    script = Script.objects.create(organization=organization, name=name, created_at=now)
    version = ScriptVersion(
        organization=organization,
        script=script,
        number=1,
        body=body,
        created_at=now,
        **{"arguments_schema": arguments_schema({}), **fields},
    )
    document = signed_document(version, name=name, organization=organization.slug)
    version.signature, version.key_id = signing.sign(document)
    version.save(force_insert=True)
    return script
