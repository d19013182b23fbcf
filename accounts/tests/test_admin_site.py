from types import SimpleNamespace
from urllib.parse import unquote

import pytest
from django.contrib import admin
from django.test import Client
from django.urls import NoReverseMatch, reverse

from accounts.admin_lists import COUNT_MAX, BoundedPaginator
from accounts.admin_site import TenantModelAdmin
from accounts.models import Membership, Organization
from accounts.policy import Action, Role
from accounts.principals import Principal, user_principal
from accounts.tests.factories import UserFactory, member
from console.tests.browsers import browser_of, text_of

EXPECTED = {
    "accounts.ApiKey",
    "accounts.Membership",
    "accounts.Organization",
    "audit.AuditEntry",
    "commands.Command",
    "commands.CommandBatch",
    "commands.CommandTemplate",
    "commands.Script",
    "commands.SupportBundle",
    "devices.Device",
    "devices.DeviceEvent",
    "devices.DeviceGroup",
    "devices.DriftReport",
    "devices.EnrollmentToken",
    "releases.DeviceUpdate",
    "releases.Release",
    "releases.Rollout",
    "releases.SiteCalendar",
}


def test_only_classes_that_keep_tenants_apart_are_registered():
    registered = admin.site._registry

    assert {model._meta.label for model in registered} == EXPECTED
    assert all(isinstance(one, TenantModelAdmin) for one in registered.values())


def test_a_library_that_registers_its_own_class_stays_out():
    admin.site.register(UserFactory._meta.model, admin.ModelAdmin)

    assert not admin.site.is_registered(UserFactory._meta.model)


def test_every_registered_class_names_rights_of_the_policy():
    for one in admin.site._registry.values():
        assert "view" in one.rights
        assert all(isinstance(action, Action) for action in one.rights.values())


class Nothing(TenantModelAdmin):
    """A class that names no right."""


def test_a_verb_without_a_right_is_allowed_to_nobody(organization: Organization):
    request = SimpleNamespace(principal=member(organization, Role.ADMIN))
    nothing = Nothing(Membership, admin.site)

    assert not nothing.has_view_permission(request)
    assert not nothing.has_add_permission(request)
    assert not nothing.has_change_permission(request)
    assert not nothing.has_delete_permission(request)


def test_no_path_leads_to_any_row_of_any_model():
    with pytest.raises(NoReverseMatch):
        reverse("admin:view_on_site", args=[1, 1])


def test_a_stranger_is_sent_to_the_sign_in_page_and_back(db: None):
    answer = Client().get("/admin/devices/device/?q=x", follow=True)

    page, _status = answer.redirect_chain[-1]
    assert page.startswith("/accounts/login/?next=")
    assert unquote(page).endswith("next=/admin/devices/device/?q=x")


def test_the_way_back_after_signing_in_never_leaves_the_site(admin: Principal):
    browser = browser_of(admin)

    for wanted in ("https://evil.example/", "//evil.example/", "javascript:alert(1)"):
        assert browser.get("/admin/login/", {"next": wanted}).url == "/admin/"
    assert browser.get("/admin/login/", {"next": "/console/system"}).url == "/console/system"


def test_a_person_without_a_role_reads_what_to_do(db: None):
    nobody = user_principal(UserFactory())

    answer = browser_of(nobody).get("/admin/", follow=True)

    assert answer.status_code == 403
    assert "is not a member of any organisation" in text_of(answer)


def test_a_member_of_a_closed_organisation_has_no_access(admin: Principal):
    browser = browser_of(admin)
    Organization.objects.filter(pk=admin.organization_id).update(is_active=False)

    assert browser.get("/admin/").status_code == 302


def test_signing_out_needs_a_form(admin: Principal):
    browser = browser_of(admin)

    assert browser.get("/admin/logout/").url == reverse("account_logout")
    assert browser.get("/admin/").status_code == 200
    browser.post("/admin/logout/")
    assert browser.get("/admin/").status_code == 302


def test_a_query_with_a_nul_is_refused_before_anything_reads_it(admin: Principal):
    browser = browser_of(admin)

    for path in ("/admin/devices/device/?role=%00", "/admin/devices/device/export/?q=a%00b"):
        assert browser.get(path).status_code == 400


@pytest.mark.parametrize(
    "query", ["device_id__regex=[", "nonsense=1", "group_members__group_id=1", "metadata__a=1"]
)
def test_only_the_lists_own_filters_are_read_from_the_address(admin: Principal, query: str):
    assert browser_of(admin).get(f"/admin/devices/device/?{query}").status_code == 400


def test_a_selection_that_cannot_be_read_selects_nothing(admin: Principal):
    answer = browser_of(admin).post(
        "/admin/devices/device/",
        {"action": "maintenance_on", "_selected_action": "not-a-key"},
        follow=True,
    )

    assert "The selection cannot be read." in text_of(answer)


@pytest.mark.parametrize("query", ["p=x", "p=99999999999999999999", "o=9.9.9", "e=1", "all="])
def test_a_query_that_means_nothing_does_no_harm(admin: Principal, query: str):
    answer = browser_of(admin).get(f"/admin/devices/device/?{query}", follow=True)

    assert answer.status_code == 200


def test_a_count_ends_where_nobody_pages_further():
    seen = []

    class Rows:
        ordered = True

        def __getitem__(self, part: slice) -> "Rows":
            seen.append(part.stop)
            return self

        def count(self) -> int:
            return 7

    assert BoundedPaginator(Rows(), 50).count == 7
    assert seen == [COUNT_MAX]


def test_history_leads_to_the_audit_log_about_the_row(admin: Principal):
    pk = admin.organization_id

    answer = browser_of(admin).get(f"/admin/accounts/organization/{pk}/history/")

    assert answer.url == (f"/admin/audit/auditentry/?target_type=organization&target_id={pk}")


def test_an_owner_who_looks_at_all_organisations_can_change_none(
    organization: Organization, other_organization: Organization
):
    owner = user_principal(UserFactory(is_superuser=True))
    member(other_organization)
    browser = browser_of(owner)
    browser.post("/console/organization/switch", {"organization": "*"})

    page = browser.get(f"/admin/accounts/organization/{other_organization.pk}/change/")
    saved = browser.post(
        f"/admin/accounts/organization/{other_organization.pk}/change/", {"name": "Taken"}
    )

    assert page.status_code == 200
    assert 'name="_save"' not in page.content.decode()
    assert saved.status_code == 403
