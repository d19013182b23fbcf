"""People, organisations and keys for tests."""

from typing import Any

import factory

from accounts.models import ApiKey, Membership, Organization, User
from accounts.policy import Role
from accounts.principals import Principal, api_key_principal, user_principal
from common.ids import secret_digest, secret_token

PASSWORD = "a rather long password"


class OrganizationFactory(factory.django.DjangoModelFactory):
    name = factory.Sequence(lambda n: f"Organisation {n}")
    slug = factory.Sequence(lambda n: f"org-{n}")

    class Meta:
        model = Organization


class UserFactory(factory.django.DjangoModelFactory):
    email = factory.Sequence(lambda n: f"person-{n}@example.org")
    name = factory.Sequence(lambda n: f"Person {n}")
    # One iteration: tests sign in often, and the cost of hashing is not what they test.
    password = "pbkdf2_sha256$1$salt$4tuXIvwzVoc2/qRIedALGWh+aMeIhEzRiPjCARsIR+o="

    class Meta:
        model = User


class MembershipFactory(factory.django.DjangoModelFactory):
    organization = factory.SubFactory(OrganizationFactory)
    user = factory.SubFactory(UserFactory)
    role = Role.OPERATOR

    class Meta:
        model = Membership


def member(organization: Organization, role: str = Role.OPERATOR, **fields: Any) -> Principal:
    """Return a person with a role in an organisation."""
    membership = MembershipFactory(organization=organization, role=role, **fields)
    return user_principal(membership.user, organization.slug)


def api_key(organization: Organization, role: str = Role.OPERATOR) -> tuple[Principal, str]:
    """Return an API key's principal and its secret."""
    secret = f"fk_{secret_token()}"
    key = ApiKey.objects.create(
        organization=organization,
        name="a key",
        role=role,
        prefix=secret[:11],
        sha256=secret_digest(secret),
    )
    return api_key_principal(key), secret
