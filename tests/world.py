"""Two organisations full of rows, so that every route has something to reach and something to leak.

Every text of a set of rows holds the set's word. A word that turns up where it was not sent is a
leak, whatever field it came through.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from django.db import transaction
from guardian.shortcuts import assign_perm

from accounts.models import ApiKey, Membership, Organization, User
from accounts.policy import Role
from accounts.services.sign_in import tokens_issue
from accounts.tests.factories import (
    PASSWORD,
    MembershipFactory,
    OrganizationFactory,
    UserFactory,
)
from audit import services as audit
from audit.models import AuditEntry
from commands.models import CommandTemplate
from commands.tests.bundles import Files, kept_bundle
from commands.tests.factories import CommandFactory, batch_of
from commands.tests.library import stored_script
from common import clock
from common.ids import secret_digest, secret_token, uuid7
from devices.models import (
    GRANT,
    Device,
    DeviceEvent,
    DeviceGroup,
    EnrollmentToken,
    Heartbeat,
)
from devices.tests.factories import DeviceFactory, group_of
from tests.world_releases import release_rows, trust_rows
from tests.world_rows import Names, Rows

SECRETS = ("password", "refresh", "enrollment_secret")
__all__ = [
    *("SECRETS", "Names", "Rows", "absent_names", "device_rows", "organization_rows"),
    *("person", "rolled_back", "stranger_names"),
]


@contextmanager
def rolled_back() -> Iterator[None]:
    """Undo what happens inside; the transaction around goes on."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


def organization_rows(word: str) -> Rows:
    """Return a new organisation with people, keys and one set of everything a device has."""
    organization = OrganizationFactory(name=f"{word} works", slug=word)
    rows = device_rows(organization, word)
    member = _person(rows, "member", Role.VIEWER)
    rows.names |= {
        "slug": organization.slug,
        "organization_id": str(organization.pk),
        "user_id": str(member.user_id),
        "user_email": member.user.email,
        "membership_id": str(member.pk),
        "api_key_id": str(_api_key(rows).pk),
        "password": PASSWORD,
        "refresh": tokens_issue(user=member.user, now=clock.now()).refresh,
        "enrollment_secret": f"et_{secret_token()}",
    }
    rows.names["enrollment_token_id"] = str(_enrollment_token(rows).pk)
    rows.ids.append(str(organization.pk))
    _library(rows)
    trust_rows(rows)
    _note(rows)
    return rows


def device_rows(organization: Organization, word: str) -> Rows:
    """Return a device with group, commands, bundle, heartbeat and history in an organisation."""
    now = clock.now()
    device = DeviceFactory(
        organization=organization,
        device_id=f"{word}-device",
        name=f"{word} name",
        hostname=f"{word}-host",
        role=f"{word}-role",
        platform=f"{word}-os",
        branch=f"{word}-branch",
        site=f"{word} site",
        serial=f"{word}-serial",
        owner=f"{word} owner",
        tags=[f"{word}-tag"],
        metadata={"note": f"{word} metadata"},
        state__health=Device.Health.HEALTHY,
        state__last_seen=now,
        state__version=f"{word}-version",
        state__status={"note": f"{word} status"},
        state__metrics={"load_1m": 1.0},
        state__errors=[f"{word} error"],
    )
    rows = Rows(word=word, organization=organization, device=device)
    pending = DeviceFactory(
        organization=organization,
        device_id=f"{word}-pending",
        name=f"{word} pending",
        lifecycle=Device.Lifecycle.PENDING,
    )
    group = group_of(organization, device, pending, name=f"{word} group")
    rows.names = {
        "device_id": device.device_id,
        "device_pk": str(device.pk),
        "pending_device_id": pending.device_id,
        "pending_device_pk": str(pending.pk),
        "group_id": str(group.pk),
        "group_name": group.name,
        "tag": device.tags[0],
        "role": device.role,
        "new_device_id": f"{word}-new",
        "word": word,
    }
    rows.ids += [str(device.pk), str(pending.pk), str(group.pk)]
    _commands(rows)
    _batches(rows)
    _history(rows)
    release_rows(rows)
    return rows


def _commands(rows: Rows) -> None:
    now = clock.now()
    common = {
        "device": rows.device,
        "organization": rows.organization,
        "kind": "config",
        "payload": {"changes": {"NOTE": f"{rows.word} payload"}},
        "created_by": f"{rows.word} author",
    }
    lease = {"status": "delivered", "attempt": 1, "lease_expires_at": now + timedelta(minutes=1)}
    ended = {"status": "failed", "attempt": 1, "finished_at": now, "error": f"{rows.word} error"}
    bundle_command = CommandFactory(**{**common, "kind": "bundle", "payload": {}}, **lease)
    commands = {
        "command_id": CommandFactory(**common),
        "delivered_command_id": CommandFactory(**common, **lease),
        "held_command_id": CommandFactory(**common, held_reason=f"{rows.word} hold"),
        "ended_command_id": CommandFactory(**common, **ended, output=f"{rows.word} output"),
        "bundle_command_id": bundle_command,
    }
    sent = CommandFactory(**{**common, "kind": "bundle", "payload": {}}, **lease)
    files: Files = {f"logs/{rows.word}.txt": f"{rows.word} line\n"}
    earlier = CommandFactory(**{**common, "kind": "bundle", "payload": {}}, **ended)
    good = kept_bundle(earlier, files, device_health="healthy")
    bundle = kept_bundle(sent, files)
    rows.names |= {name: str(command.pk) for name, command in commands.items()}
    rows.names |= {"bundle_id": str(bundle.pk), "sent_command_id": str(sent.pk)}
    rows.ids += [str(one.pk) for one in [*commands.values(), sent, earlier, good, bundle]]


def _library(rows: Rows) -> None:
    now = clock.now()
    script = stored_script(rows.organization, f"{rows.word}-script", f"echo {rows.word}\n")
    run = CommandFactory(
        device=rows.device,
        organization=rows.organization,
        kind="run_script",
        payload={"script": script.name, "version": 1, "arguments": {}},
        status="delivered",
        attempt=1,
        lease_expires_at=now + timedelta(minutes=1),
    )
    template = CommandTemplate.objects.create(
        organization=rows.organization,
        name=f"{rows.word} template",
        description=f"{rows.word} description",
        kind="config",
        payload={"changes": {"NOTE": f"{rows.word} saved"}},
        created_at=now,
        created_by=f"{rows.word} author",
    )
    rows.names |= {
        "script_id": str(script.pk),
        "script_name": script.name,
        "script_command_id": str(run.pk),
        "template_id": str(template.pk),
        "template_name": template.name,
    }
    rows.ids += [str(one.pk) for one in (script, run, template)]


def _batches(rows: Rows) -> None:
    fields = {
        "kind": "config",
        "payload": {"changes": {"NOTE": f"{rows.word} payload"}},
        "selection": {"devices": [rows.device.device_id]},
        "unmatched": [{"device_id": f"{rows.word}-nobody", "reason": "is not a device you see"}],
        "created_by": f"{rows.word} author",
    }
    for name, status in {
        "draft_batch_id": "draft",
        "unapproved_batch_id": "awaiting_approval",
        "paused_batch_id": "paused",
        "batch_id": "running",
    }.items():
        ended = {"status": "failed", "finished_at": clock.now(), "error": f"{rows.word} error"}
        command = CommandFactory(device=rows.device, organization=rows.organization, **ended)
        batch = batch_of(
            command,
            status=status,
            name=f"{rows.word} {status}",
            reason=f"{rows.word} why",
            **fields,
        )
        rows.names[name] = str(batch.pk)
        rows.ids += [str(batch.pk), str(command.pk)]


def _history(rows: Rows) -> None:
    now = clock.now()
    Heartbeat.objects.create(
        device=rows.device,
        organization=rows.organization,
        at=now,
        received_at=now,
        boot_id=f"{rows.word}-boot",
        sequence=1,
        health=Device.Health.HEALTHY,
        version=f"{rows.word}-version",
        cpu_percent=12.5,
        metrics={},
        status={"note": f"{rows.word} status"},
        errors=[],
    )
    event = DeviceEvent.objects.create(
        organization=rows.organization,
        device=rows.device,
        at=now,
        kind="registration",
        message=f"{rows.word} enrolled",
    )
    rows.names["event_id"] = str(event.pk)
    rows.ids.append(str(event.pk))


def _person(rows: Rows, name: str, role: str, **fields: bool) -> Membership:
    user = UserFactory(email=f"{name}@{rows.word}.example.org", name=f"{rows.word} {name}")
    rows.users.append(user)
    rows.ids.append(str(user.pk))
    membership: Membership = MembershipFactory(
        organization=rows.organization, user=user, role=role, **fields
    )
    return membership


def person(rows: Rows, name: str, role: str, *, groups: list[str] | None = None) -> User:
    """Add a person to the rows' organisation; `groups` limits them to the groups of these ids."""
    membership = _person(rows, name, role, limited_to_groups=groups is not None)
    for group in DeviceGroup.objects.filter(pk__in=groups or []):
        assign_perm(f"devices.{GRANT}", membership.user, group)
    return membership.user


def _api_key(rows: Rows) -> ApiKey:
    secret = f"fk_{secret_token()}"
    key = ApiKey.objects.create(
        organization=rows.organization,
        name=f"{rows.word} key",
        role=Role.VIEWER,
        prefix=f"fk_{rows.word}",
        sha256=secret_digest(secret),
    )
    rows.ids.append(str(key.pk))
    return key


def _enrollment_token(rows: Rows) -> EnrollmentToken:
    token = EnrollmentToken.objects.create(
        organization=rows.organization,
        name=f"{rows.word} token",
        group=DeviceGroup.objects.get(pk=rows.names["group_id"]),
        prefix=f"et_{rows.word}",
        sha256=secret_digest(rows.names["enrollment_secret"]),
        expires_at=clock.now() + timedelta(hours=1),
        created_by=f"{rows.word} author",
    )
    rows.ids.append(str(token.pk))
    return token


def _note(rows: Rows) -> None:
    audit.record(
        actor=None,
        organization=rows.organization,
        action="device.update",
        target=rows.device,
        before={"name": f"{rows.word} before"},
        after={"name": f"{rows.word} after"},
    )
    entry = AuditEntry.objects.get(organization_id=rows.organization.pk, action="device.update")
    rows.names["audit_id"] = str(entry.pk)
    rows.ids.append(str(entry.pk))


def stranger_names(rows: Rows) -> Names:
    """Return how somebody names these rows who holds none of their secrets."""
    secrets = {name: value for name, value in absent_names(rows.names).items() if name in SECRETS}
    return {**rows.names, **secrets}


def absent_names(like: Names) -> Names:
    """Return names of the same shape that name nothing."""
    word = like["word"]
    other = "".join(chr((ord(letter) - 97 + 5) % 26 + 97) for letter in word)
    names = {name: _absent(value, word, other) for name, value in like.items()}
    return names | {name: f"{other}-{secret_token()}" for name in SECRETS if name in like}


def _absent(value: str, word: str, other: str) -> str:
    if _is_id(value):
        return str(uuid7())
    return str(int(value) + 1_000_000) if value.isdigit() else value.replace(word, other)


def _is_id(value: str) -> bool:
    return len(value) == 36 and value.count("-") == 4
