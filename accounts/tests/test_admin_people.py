import re

import pytest

from accounts.models import ApiKey, Membership, Organization, User
from accounts.policy import Role
from accounts.principals import Principal
from accounts.tests.factories import MembershipFactory, UserFactory, member
from audit.models import AuditEntry
from common.ids import uuid7
from console.tests.browsers import browser_of, text_of

PEOPLE = "/admin/accounts/membership/"
KEYS = "/admin/accounts/apikey/"


def audited(action: str) -> int:
    return AuditEntry.objects.filter(action=action).count()


def secret_in(response) -> str:
    found = re.search(r'id="secret">([^<]+)</pre>', response.content.decode())
    assert found, response.content.decode()[:2_000]
    return found[1]


def test_a_new_persons_password_is_shown_once_and_works(admin: Principal):
    browser = browser_of(admin)
    wanted = {"email": "New@Example.org", "name": "New", "role": "viewer"}

    page = browser.post(f"{PEOPLE}add/", wanted)

    password = secret_in(page)
    person = User.objects.get(email="new@example.org")
    assert person.check_password(password)
    assert "no-store" in page["Cache-Control"]
    assert audited("member.add") == 1
    for path in (PEOPLE, f"{PEOPLE}{person.memberships.get().pk}/change/"):
        assert password not in browser.get(path).content.decode()


def test_a_known_person_keeps_their_password(admin: Principal):
    known = UserFactory(email="known@example.org")

    answer = browser_of(admin).post(f"{PEOPLE}add/", {"email": known.email, "role": "operator"})

    assert "signs in with the password they have" in answer.content.decode()
    assert User.objects.get(pk=known.pk).password == known.password
    assert Membership.objects.get(user=known).role == Role.OPERATOR


def test_adding_somebody_twice_is_refused_with_one_message(admin: Principal):
    browser = browser_of(admin)
    wanted = {"email": admin.user.email, "role": "viewer"}

    page = text_of(browser.post(f"{PEOPLE}add/", wanted, follow=True))

    assert "is a member of" in page
    assert "successfully" not in page


def test_a_role_is_changed_through_the_service_and_audited_once(admin: Principal):
    row = MembershipFactory(organization=admin.organization, role=Role.VIEWER)

    answer = browser_of(admin).post(f"{PEOPLE}{row.pk}/change/", {"role": "operator"})

    row.refresh_from_db()
    entry = AuditEntry.objects.get(action="member.update")
    assert answer.status_code == 302
    assert row.role == Role.OPERATOR
    assert (entry.before, entry.after) == ({"role": "viewer"}, {"role": "operator"})


def test_the_last_admin_stays_and_nothing_says_otherwise(admin: Principal):
    row = Membership.objects.get(user=admin.user)
    browser = browser_of(admin)

    page = text_of(browser.post(f"{PEOPLE}{row.pk}/change/", {"role": "viewer"}, follow=True))
    gone = text_of(browser.post(f"{PEOPLE}{row.pk}/delete/", {"post": "yes"}, follow=True))

    row.refresh_from_db()
    assert row.role == Role.ADMIN
    for answer in (page, gone):
        assert "last admin" in answer
        assert "successfully" not in answer


def test_a_person_is_taken_out_and_keeps_the_account(admin: Principal):
    row = MembershipFactory(organization=admin.organization)

    browser_of(admin).post(f"{PEOPLE}{row.pk}/delete/", {"post": "yes"})

    assert not Membership.objects.filter(pk=row.pk).exists()
    assert User.objects.filter(pk=row.user_id).exists()
    assert audited("member.remove") == 1


@pytest.mark.parametrize("role", [Role.VIEWER, Role.OPERATOR])
@pytest.mark.parametrize("path", [PEOPLE, f"{PEOPLE}add/", KEYS, f"{KEYS}add/"])
def test_people_and_keys_are_the_admins(organization: Organization, role: str, path: str):
    assert browser_of(member(organization, role)).get(path).status_code == 403


def test_a_foreign_person_and_an_absent_one_are_the_same(
    admin: Principal, other_organization: Organization
):
    foreign = MembershipFactory(organization=other_organization)
    browser = browser_of(admin)

    for verb in ("change", "delete", "history"):
        seen = [browser.get(f"{PEOPLE}{pk}/{verb}/") for pk in (foreign.pk, uuid7())]
        assert [answer.status_code for answer in seen] == [302, 302]
        assert seen[0].url == seen[1].url
    posted = browser.post(f"{PEOPLE}{foreign.pk}/change/", {"role": "admin"})
    foreign.refresh_from_db()
    assert posted.status_code == 302
    assert foreign.role == Role.OPERATOR


def test_the_list_holds_nobody_from_elsewhere(admin: Principal, stranger: Principal):
    page = text_of(browser_of(admin).get(PEOPLE))

    assert admin.user.email in page
    assert stranger.user.email not in page


def test_a_key_is_shown_once_and_listed_without_its_secret(admin: Principal):
    browser = browser_of(admin)

    page = browser.post(f"{KEYS}add/", {"name": "Grafana", "role": "viewer", "days": "7"})

    secret = secret_in(page)
    key = ApiKey.objects.get()
    assert secret.startswith("fk_")
    assert key.organization == admin.organization
    for path in (KEYS, f"{KEYS}{key.pk}/change/"):
        assert secret not in browser.get(path).content.decode()
    assert audited("api_key.issue") == 1


def test_a_key_cannot_be_edited(admin: Principal):
    browser = browser_of(admin)
    browser.post(f"{KEYS}add/", {"name": "Grafana", "role": "viewer"})
    key = ApiKey.objects.get()

    answer = browser.post(f"{KEYS}{key.pk}/change/", {"name": "Mine", "role": "admin"})

    key.refresh_from_db()
    assert answer.status_code == 403
    assert (key.name, key.role) == ("Grafana", "viewer")


def test_keys_are_revoked_from_the_list_but_never_foreign_ones(
    admin: Principal, stranger: Principal
):
    for one in (admin, stranger):
        browser_of(one).post(f"{KEYS}add/", {"name": "k", "role": "viewer"})
    mine, foreign = ApiKey.objects.order_by("created_at")

    browser_of(admin).post(
        KEYS, {"action": "revoke_selected", "_selected_action": [mine.pk, foreign.pk]}
    )

    mine.refresh_from_db()
    foreign.refresh_from_db()
    assert mine.revoked_at is not None
    assert foreign.revoked_at is None


def test_settings_of_the_organisation_are_written_by_field(admin: Principal):
    pk = admin.organization_id
    browser = browser_of(admin)
    form = {
        "name": "Acme",
        "allow_self_enrollment": "on",
        "heartbeat_interval_s": "30",
        "command_poll_interval_s": "30",
        "heartbeat_retention_days": "30",
        "bundle_retention_days": "30",
        "bundle_quota_mb": "5000",
    }

    answer = browser.post(f"/admin/accounts/organization/{pk}/change/", form)

    entry = AuditEntry.objects.get(action="organization.update")
    assert answer.status_code == 302
    assert entry.after == {"allow_self_enrollment": True, "heartbeat_interval_s": 30}


def test_a_viewer_reads_the_settings_and_changes_none(viewer: Principal):
    path = f"/admin/accounts/organization/{viewer.organization_id}/change/"
    browser = browser_of(viewer)

    assert browser.get(path).status_code == 200
    assert browser.post(path, {"name": "Mine"}).status_code == 403
