from datetime import UTC, datetime, timedelta

import pytest
from allauth.mfa.totp.internal.auth import (
    TOTP,
    format_hotp_value,
    hotp_value,
    yield_hotp_counters_from_time,
)
from rest_framework.test import APIClient

from accounts.models import RefreshToken
from accounts.tests.factories import PASSWORD, MembershipFactory, OrganizationFactory, UserFactory
from audit.models import AuditEntry
from common import limits

pytestmark = pytest.mark.django_db

URL = "/api/v1/auth/token"


@pytest.fixture
def user():
    return MembershipFactory(user__email="ann@example.org", organization__slug="acme").user


def sign_in(email="ann@example.org", password=PASSWORD, address="192.0.2.1", **extra):
    return APIClient().post(
        URL, {"email": email, "password": password, **extra}, format="json", REMOTE_ADDR=address
    )


def bearer(token, **headers):
    return APIClient(headers={"Authorization": f"Bearer {token}", **headers})


def test_a_sign_in_gives_tokens_that_work(user):
    answer = sign_in(email="Ann@Example.org")

    assert answer.status_code == 200
    assert set(answer.data) == {"access", "refresh", "expires_in"}
    me = bearer(answer.data["access"]).get("/api/v1/auth/me").data
    assert (me["email"], me["organization"], me["role"]) == ("ann@example.org", "acme", "operator")
    assert AuditEntry.objects.filter(action="user.sign_in", actor="ann@example.org").exists()


@pytest.mark.parametrize("email", ["ann@example.org", "nobody@example.org"])
def test_wrong_credentials_are_the_same_for_known_and_unknown(user, email):
    answer = sign_in(email=email, password="not the password")

    assert (answer.status_code, answer.data["code"]) == (401, "wrong_credentials")


def test_a_deactivated_person_cannot_sign_in(user):
    user.is_active = False
    user.save(update_fields=["is_active"])

    assert sign_in().status_code == 401


def test_guessing_is_stopped_after_ten_failures_of_an_account(user):
    codes = [sign_in(password=f"guess {n}", address=f"192.0.2.{n}").status_code for n in range(14)]

    assert codes == [401] * limits.SIGN_IN_PER_ACCOUNT_HOUR + [429] * 4


def test_guessing_is_stopped_after_twenty_failures_of_an_address(user):
    codes = [sign_in(email=f"a{n}@example.org").status_code for n in range(23)]

    assert codes == [401] * limits.SIGN_IN_PER_ADDRESS_HOUR + [429] * 3


def test_a_throttled_answer_says_when_to_come_back(user):
    for n in range(10):
        sign_in(password="wrong", address=f"192.0.2.{n}")

    answer = sign_in(password="wrong", address="192.0.2.99")

    assert 300 <= int(answer.headers["Retry-After"]) <= 361
    assert answer.data["retry_after_s"] == int(answer.headers["Retry-After"])


def test_the_owner_still_gets_in_from_where_they_signed_in_before(user):
    assert sign_in(address="198.51.100.7").status_code == 200
    for n in range(12):
        sign_in(password="a guess", address=f"192.0.2.{n}")

    assert sign_in(address="203.0.113.5").status_code == 429
    assert sign_in(address="198.51.100.7").status_code == 200


def test_a_success_empties_the_count(user):
    for _ in range(9):
        sign_in(password="typo")
    assert sign_in().status_code == 200

    assert [sign_in(password="typo").status_code for _ in range(10)] == [401] * 10


def test_a_forged_forwarded_for_does_not_change_the_address(user):
    codes = [
        APIClient()
        .post(
            URL,
            {"email": f"x{n}@example.org", "password": "guess"},
            format="json",
            headers={"X-Forwarded-For": f"10.0.0.{n}"},
        )
        .status_code
        for n in range(22)
    ]

    assert codes.count(429) == 2


def test_a_refresh_token_works_once_and_a_copy_ends_the_family(user):
    first = sign_in().data["refresh"]
    second = APIClient().post("/api/v1/auth/refresh", {"refresh": first}, format="json")
    assert second.status_code == 200

    again = APIClient().post("/api/v1/auth/refresh", {"refresh": first}, format="json")
    after = APIClient().post(
        "/api/v1/auth/refresh", {"refresh": second.data["refresh"]}, format="json"
    )

    assert (again.status_code, after.status_code) == (401, 401)
    assert RefreshToken.objects.count() == 0


def test_a_new_password_ends_tokens_given_out_before(user):
    access = sign_in().data["access"]
    user.set_password("another long password")
    user.save(update_fields=["password"])

    assert bearer(access).get("/api/v1/auth/me").status_code == 401


def test_an_expired_access_token_is_refused(user, time_machine):
    access = sign_in().data["access"]

    time_machine.move_to(datetime.now(UTC) + limits.ACCESS_TOKEN_TTL + timedelta(seconds=60))

    assert bearer(access).get("/api/v1/auth/me").status_code == 401


def test_a_role_change_counts_at_once(user):
    access = sign_in().data["access"]
    user.memberships.update(role="viewer")

    assert bearer(access).get("/api/v1/auth/me").data["role"] == "viewer"


def test_a_person_names_the_organisation_they_act_in(user):
    MembershipFactory(user=user, organization=OrganizationFactory(slug="globex"), role="viewer")
    access = sign_in().data["access"]

    assert bearer(access).get("/api/v1/auth/me").data["organization"] == "acme"
    there = bearer(access, **{"X-Organization": "globex"}).get("/api/v1/auth/me").data
    assert (there["organization"], there["role"]) == ("globex", "viewer")


@pytest.mark.parametrize("slug", ["initech", "absent"])
def test_a_foreign_organisation_and_an_absent_one_are_refused_alike(user, slug):
    OrganizationFactory(slug="initech")
    access = sign_in().data["access"]

    answer = bearer(access, **{"X-Organization": slug}).get("/api/v1/devices")

    assert (answer.status_code, answer.data["code"]) == (403, "not_allowed")


def test_an_account_with_an_authenticator_app_needs_its_code(user):
    secret = "JBSWY3DPEHPK3PXP"
    TOTP.activate(user, secret)
    counter = next(yield_hotp_counters_from_time())
    code = format_hotp_value(hotp_value(secret, counter))

    without = sign_in()
    wrong = sign_in(totp="000000" if code != "000000" else "111111")
    right = sign_in(totp=code)

    assert (without.status_code, without.data["code"]) == (401, "totp_needed")
    assert wrong.status_code == 401
    assert right.status_code == 200


def test_a_person_without_a_password_cannot_sign_in():
    UserFactory(email="robot@example.org", password="!")

    assert sign_in(email="robot@example.org", password="!").status_code == 401


def test_guessing_codes_is_stopped_too_and_the_place_stays_unknown(user):
    TOTP.activate(user, "JBSWY3DPEHPK3PXP")

    answers = [sign_in(totp="000000", address="198.51.100.9") for _ in range(12)]

    assert {answer.status_code for answer in answers[:10]} == {401}
    assert [answer.status_code for answer in answers[10:]] == [429, 429]
    assert not user.known_places.exists()
