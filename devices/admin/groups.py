"""Device groups, and the people who are granted them."""

from typing import Any, ClassVar

from django.contrib import admin
from django.contrib.auth.models import Permission
from django.db.models import Count, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from guardian.models import UserObjectPermission
from unfold.decorators import display

from accounts.admin import MembershipAdmin
from accounts.admin_requests import principal_of
from accounts.admin_site import TenantModelAdmin
from accounts.models import Membership
from accounts.policy import Action
from accounts.principals import Principal
from common import markup
from devices.models import GRANT, DeviceGroup
from devices.services import groups as services


@admin.register(DeviceGroup)
class DeviceGroupAdmin(TenantModelAdmin):
    """Sets of devices people are granted and commands are sent to."""

    rights: ClassVar[dict[str, Action]] = {
        "view": Action.GROUP_READ,
        "add": Action.GROUP_MANAGE,
        "change": Action.GROUP_MANAGE,
        "delete": Action.GROUP_MANAGE,
    }
    list_display = ["name", "description", "device_count", "made"]
    search_fields = ["name", "description"]
    ordering = ["name"]
    fields = ["name", "description"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[DeviceGroup]:
        rows: QuerySet[DeviceGroup] = super().get_queryset(request)
        return rows.annotate(members_count=Count("members"))

    @display(description="Devices", ordering="members_count")
    def device_count(self, row: Any) -> str:
        url = f"{reverse('admin:devices_device_changelist')}?group={row.pk}"
        return markup.link(url, row.members_count)

    @display(description="Made", ordering="created_at")
    def made(self, row: DeviceGroup) -> str:
        return markup.moment(row.created_at)

    def service_create(
        self, request: HttpRequest, obj: DeviceGroup, entered: dict[str, Any]
    ) -> DeviceGroup:
        principal = principal_of(request)
        return services.group_create(
            organization=principal.acting_organization(), actor=principal, **entered
        )

    def service_update(
        self, request: HttpRequest, obj: DeviceGroup, changes: dict[str, Any]
    ) -> None:
        kept = DeviceGroup.objects.select_related("organization").get(pk=obj.pk)
        services.group_update(group=kept, changes=changes, actor=principal_of(request))

    def service_delete(self, request: HttpRequest, obj: DeviceGroup) -> None:
        services.group_delete(group=obj, actor=principal_of(request))


class GroupGrants:
    """Adds the granted groups to the form of a person."""

    def choices(self, principal: Principal) -> QuerySet[DeviceGroup]:
        """Return the groups the person who edits may see."""
        return DeviceGroup.objects.visible_to(principal).order_by("name")

    def current(self, membership: Membership) -> list[Any]:
        """Return the ids of the groups of this organisation that are granted."""
        permission = Permission.objects.filter(codename=GRANT, content_type__app_label="devices")
        granted = UserObjectPermission.objects.filter(
            user=membership.user, permission__in=permission
        ).values_list("object_pk", flat=True)
        groups = DeviceGroup.objects.filter(organization_id=membership.organization_id)
        return list(groups.filter(pk__in=list(granted)).values_list("pk", flat=True))

    def save(self, membership: Membership, chosen: list[Any], actor: Principal) -> None:
        """Grant and revoke until exactly the chosen groups are granted."""
        before = set(self.current(membership))
        wanted = {group.pk: group for group in chosen}
        for pk, group in wanted.items():
            if pk not in before:
                services.group_grant(group=group, user=membership.user, actor=actor)
        for group in DeviceGroup.objects.filter(pk__in=before - wanted.keys()):
            services.group_revoke(group=group, user=membership.user, actor=actor)


MembershipAdmin.grants = GroupGrants()
