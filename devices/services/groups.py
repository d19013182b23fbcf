"""Device groups, and who is granted which."""

from django.db import IntegrityError, transaction
from guardian.shortcuts import assign_perm, remove_perm

from accounts.models import Membership, Organization, User
from audit import services as audit
from audit.services import Actor
from common.errors import InvalidInput
from devices.errors import NameTaken
from devices.models import GRANT, DeviceGroup


@transaction.atomic
def group_create(
    *, organization: Organization, name: str, description: str, actor: Actor
) -> DeviceGroup:
    """Make a group. Raises NameTaken."""
    try:
        with transaction.atomic():
            group = DeviceGroup.objects.create(
                organization=organization, name=name, description=description
            )
    except IntegrityError:
        raise NameTaken(f"A group “{name}” exists already. Choose another name.") from None
    audit.record(
        actor=actor,
        organization=organization,
        action="group.create",
        target=group,
        after={"name": name},
    )
    return group


@transaction.atomic
def group_update(*, group: DeviceGroup, changes: dict[str, str], actor: Actor) -> DeviceGroup:
    """Rename or describe a group. Raises NameTaken."""
    before, after = audit.changed({name: getattr(group, name) for name in changes}, dict(changes))
    if not after:
        return group
    for name, value in after.items():
        setattr(group, name, value)
    try:
        with transaction.atomic():
            group.save(update_fields=list(after))
    except IntegrityError:
        raise NameTaken(f"A group “{group.name}” exists already. Choose another name.") from None
    audit.record(
        actor=actor,
        organization=group.organization,
        action="group.update",
        target=group,
        before=before,
        after=after,
    )
    return group


@transaction.atomic
def group_delete(*, group: DeviceGroup, actor: Actor) -> None:
    """Delete a group; its devices stay."""
    audit.record(
        actor=actor,
        organization=group.organization,
        action="group.delete",
        target=group,
        before={"name": group.name, "devices": group.members.count()},
    )
    group.delete()


@transaction.atomic
def group_grant(*, group: DeviceGroup, user: User, actor: Actor) -> None:
    """Let a limited member see and operate the group's devices."""
    members = Membership.objects.filter(organization_id=group.organization_id, user=user)
    if not members.exists():
        raise InvalidInput(f"{user.email} is not a member of {group.organization}. Add them first.")
    assign_perm(f"devices.{GRANT}", user, group)
    audit.record(
        actor=actor,
        organization=group.organization,
        action="group.grant",
        target=group,
        after={"user": user.email},
    )


@transaction.atomic
def group_revoke(*, group: DeviceGroup, user: User, actor: Actor) -> None:
    """Take a grant away."""
    remove_perm(f"devices.{GRANT}", user, group)
    audit.record(
        actor=actor,
        organization=group.organization,
        action="group.revoke",
        target=group,
        before={"user": user.email},
    )
