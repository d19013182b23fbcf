from django.test import Client

from accounts.models import Membership, Organization
from accounts.policy import Role
from accounts.principals import Principal, user_principal
from accounts.tests.factories import MembershipFactory, UserFactory
from audit.models import AuditEntry
from console.tests.browsers import browser_of, text_of
from devices.models import Device
from devices.tests.factories import DeviceFactory

SWITCH = "/console/organization/switch"


def test_a_member_of_two_acts_in_the_one_chosen(
    admin: Principal, device: Device, other_organization: Organization
):
    MembershipFactory(user=admin.user, organization=other_organization, role=Role.VIEWER)
    DeviceFactory(organization=other_organization, device_id="globex-1")
    browser = browser_of(admin)

    before = text_of(browser.get("/admin/devices/device/"))
    answer = browser.post(SWITCH, {"organization": "globex"})
    after = text_of(browser.get("/admin/devices/device/"))

    assert answer.url == "/admin/"
    assert "studio-1" in before
    assert "globex-1" not in before
    assert "globex-1" in after
    assert "studio-1" not in after
    # The role is the one held there: a viewer queues nothing.
    assert 'value="queue_for_selected"' not in after


def test_a_foreign_organisation_and_an_absent_one_are_the_same(
    admin: Principal, other_organization: Organization
):
    browser = browser_of(admin)

    for slug in ("globex", "nowhere", "*"):
        page = text_of(browser.post(SWITCH, {"organization": slug}, follow=True))
        assert "You are not a member of that organisation." in page
        assert browser.session["organization"] == "acme"


def test_switching_is_a_form_with_a_token(admin: Principal):
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(admin.user, backend="accounts.backends.PortalBackend")

    assert browser.get(SWITCH).status_code == 405
    assert browser.post(SWITCH, {"organization": "acme"}).status_code == 403


def test_the_switcher_offers_what_one_is_a_member_of(
    admin: Principal, other_organization: Organization
):
    page = text_of(browser_of(admin).get("/admin/"))

    assert 'value="acme"' in page
    assert 'value="globex"' not in page
    assert "All organisations" not in page


def test_an_owner_looks_at_all_organisations_and_the_log_knows(
    device: Device, other_organization: Organization
):
    DeviceFactory(organization=other_organization, device_id="globex-1")
    browser = browser_of(user_principal(UserFactory(is_superuser=True)))

    browser.post(SWITCH, {"organization": "*"})
    page = text_of(browser.get("/admin/devices/device/"))

    assert "studio-1" in page
    assert "globex-1" in page
    assert "All organisations (read only)" in page
    assert AuditEntry.objects.filter(action="console.all_organizations").count() == 1


def test_who_loses_the_membership_falls_back_to_one_they_still_have(
    admin: Principal, other_organization: Organization
):
    MembershipFactory(user=admin.user, organization=other_organization, role=Role.VIEWER)
    browser = browser_of(admin)
    Membership.objects.filter(user=admin.user, organization__slug="acme").delete()

    assert "Globex" in text_of(browser.get("/admin/"))
