import pytest

from accounts.models import Membership, User
from accounts.tests.clients import api_of
from accounts.tests.factories import PASSWORD, MembershipFactory, UserFactory
from audit.models import AuditEntry


def test_an_admin_adds_a_person_and_sees_a_first_password_once(admin_api, organization):
    answer = admin_api.post("/api/v1/users", {"email": "New@Example.org", "role": "operator"})

    assert answer.status_code == 201
    assert answer.data["email"] == "new@example.org"
    user = User.objects.get(email="new@example.org")
    assert user.check_password(answer.data["first_password"])
    listed = admin_api.get("/api/v1/users").data["results"]
    assert "first_password" not in listed[0]


def test_a_known_person_keeps_their_password(admin_api, stranger):
    answer = admin_api.post("/api/v1/users", {"email": stranger.label, "role": "viewer"})

    assert answer.status_code == 201
    known = User.objects.get(email=stranger.label)
    assert known.check_password(PASSWORD)
    assert not known.check_password(answer.data["first_password"])


def test_the_answer_does_not_tell_who_has_an_account_elsewhere(admin_api, stranger):
    known = admin_api.post("/api/v1/users", {"email": stranger.label, "role": "viewer"})
    fresh = admin_api.post("/api/v1/users", {"email": "fresh@example.org", "role": "viewer"})
    weak = [
        admin_api.post("/api/v1/users", {"email": email, "role": "viewer", "password": "short"})
        for email in (UserFactory().email, "nobody@example.org")
    ]

    assert known.status_code == fresh.status_code == 201
    assert {name: type(value) for name, value in known.json().items()} == {
        name: type(value) for name, value in fresh.json().items()
    }
    assert len(known.json()["first_password"]) == len(fresh.json()["first_password"])
    assert [one.json()["code"] for one in weak] == ["password_too_weak"] * 2


def test_somebody_is_a_member_once(admin_api, operator):
    answer = admin_api.post("/api/v1/users", {"email": operator.label, "role": "viewer"})

    assert (answer.status_code, answer.data["code"]) == (409, "already_member")


def test_a_weak_password_is_refused(admin_api):
    answer = admin_api.post(
        "/api/v1/users", {"email": "a@example.org", "role": "viewer", "password": "1234567890"}
    )

    assert (answer.status_code, answer.data["code"]) == (422, "password_too_weak")
    assert not User.objects.filter(email="a@example.org").exists()


def test_a_change_of_role_is_audited_with_before_and_after(admin_api, operator):
    answer = admin_api.patch(f"/api/v1/users/{operator.id}", {"role": "viewer"})

    assert (answer.status_code, answer.data["role"]) == (200, "viewer")
    entry = AuditEntry.objects.get(action="member.update")
    assert (entry.before, entry.after) == ({"role": "operator"}, {"role": "viewer"})


@pytest.mark.parametrize("act", ["demote", "remove", "limit"])
def test_the_last_admin_stays(admin_api, admin, act):
    url = f"/api/v1/users/{admin.id}"
    answer = {
        "demote": lambda: admin_api.patch(url, {"role": "viewer"}),
        "remove": lambda: admin_api.delete(url),
        "limit": lambda: admin_api.patch(url, {"limited_to_groups": True}),
    }[act]()

    assert (answer.status_code, answer.data["code"]) == (409, "last_admin")


def test_a_second_admin_can_take_over(admin_api, admin, organization):
    MembershipFactory(organization=organization, role="admin")

    assert admin_api.delete(f"/api/v1/users/{admin.id}").status_code == 204
    assert not Membership.objects.filter(user_id=admin.id).exists()
    assert User.objects.filter(pk=admin.id).exists()


def test_a_stranger_cannot_tell_a_foreign_person_from_none(stranger_api, operator):
    foreign = stranger_api.get(f"/api/v1/users/{operator.id}")
    absent = stranger_api.get("/api/v1/users/00000000-0000-7000-8000-000000000000")

    assert (foreign.status_code, foreign.content) == (404, absent.content)


def test_operators_do_not_see_who_else_is_there(operator_api):
    assert operator_api.get("/api/v1/users").status_code == 403


def test_settings_of_the_organisation_are_changed_by_admins(admin_api, organization):
    url = f"/api/v1/organizations/{organization.slug}"
    answer = admin_api.patch(url, {"heartbeat_interval_s": 30, "slug": "stolen"})

    assert (answer.status_code, answer.data["heartbeat_interval_s"]) == (200, 30)
    assert answer.data["slug"] == organization.slug
    assert admin_api.patch(url, {"heartbeat_interval_s": 1}).status_code == 422


def test_another_organisation_is_not_listed(operator, other_organization):
    listed = api_of(operator).get("/api/v1/organizations").data["results"]

    assert [row["slug"] for row in listed] == ["acme"]
