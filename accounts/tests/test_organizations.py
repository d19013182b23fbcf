"""Organisations are made by owners of the installation, and by nobody else."""

import pytest
from django.test import Client

from accounts.models import Organization, User
from accounts.principals import user_principal
from accounts.tests.clients import api_of
from accounts.tests.factories import UserFactory
from audit.models import AuditEntry

URL = "/api/v1/organizations"
ADD = "/admin/accounts/organization/add/"
NEW = {"name": "Initech", "slug": "initech"}


@pytest.fixture
def owner(organization: Organization) -> User:
    return UserFactory(is_superuser=True)


def page_of(user: User) -> Client:
    client = Client()
    client.force_login(user, "accounts.backends.PortalBackend")
    return client


def test_an_owner_makes_one_over_the_api(owner):
    made = api_of(user_principal(owner)).post(URL, NEW)

    assert made.status_code == 201
    entry = AuditEntry.objects.get(action="organization.create")
    assert (entry.organization, entry.actor) == ("initech", owner.email)


@pytest.mark.parametrize("slug", ["acme", "Not a slug", "-x", ""])
def test_a_slug_is_checked_and_taken_once(owner, slug):
    refused = api_of(user_principal(owner)).post(URL, {"name": "x", "slug": slug})

    assert refused.status_code in (409, 422)
    assert Organization.objects.count() == 1


def test_an_admin_makes_none(admin, admin_api):
    assert admin_api.post(URL, NEW).status_code == 403
    assert page_of(admin.user).get(ADD).status_code == 403
    assert page_of(admin.user).post(ADD, NEW).status_code == 403
    assert not Organization.objects.filter(slug="initech").exists()


def test_an_owner_makes_one_in_the_console(owner):
    page = page_of(owner)

    assert page.get(ADD).status_code == 200
    assert page.post(ADD, NEW).status_code == 302
    assert AuditEntry.objects.get(action="organization.create").organization == "initech"

    refused = page.post(ADD, {"name": "typed before", "slug": "initech"})
    assert "typed before" in refused.content.decode()


def test_a_new_owner_is_in_the_log(db):
    owner = User.objects.create_superuser("own@example.org", "a rather long password")

    entry = AuditEntry.objects.get(action="user.own")
    assert (entry.actor_type, entry.target_id) == ("system", str(owner.pk))
