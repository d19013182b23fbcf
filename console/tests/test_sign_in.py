import re
from datetime import timedelta

import pytest
from allauth.mfa.adapter import get_adapter
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal import auth as totp
from django.test import Client
from django.urls import NoReverseMatch, reverse

from accounts.models import Organization, User
from accounts.principals import Principal
from accounts.tests.factories import PASSWORD, MembershipFactory, UserFactory
from audit.models import AuditEntry
from common import limits
from console.tests.browsers import text_of

SIGN_IN = "/accounts/login/"


@pytest.fixture
def person(organization: Organization) -> User:
    return MembershipFactory(organization=organization, user=UserFactory(email="a@b.example")).user


def sign_in(browser: Client, password: str = PASSWORD, **more: str):
    return browser.post(SIGN_IN, {"login": "a@b.example", "password": password, **more})


def code_of(secret: str) -> str:
    counter = next(iter(totp.yield_hotp_counters_from_time()))
    return totp.format_hotp_value(totp.hotp_value(secret, counter))


def with_totp(person: User) -> str:
    secret = totp.generate_totp_secret()
    totp.TOTP.activate(person, secret)
    return secret


def test_e_mail_and_password_open_the_console_and_the_log_knows(person: User):
    browser = Client()

    answer = sign_in(browser)

    entry = AuditEntry.objects.get(action="user.sign_in")
    assert answer.url == "/admin/"
    assert browser.get("/admin/").status_code == 200
    assert (entry.actor, entry.after) == ("a@b.example", {"how": "console"})


def test_one_goes_where_one_wanted_but_never_off_the_site(person: User):
    assert sign_in(Client(), next="/admin/devices/device/").url == "/admin/devices/device/"
    assert sign_in(Client(), next="https://evil.example/").url == "/admin/"


def test_a_wrong_password_is_a_sentence_and_opens_nothing(person: User):
    browser = Client()

    page = text_of(sign_in(browser, "wrong"))

    assert "not correct" in page
    assert browser.get("/admin/").status_code == 302
    assert not AuditEntry.objects.filter(action="user.sign_in").exists()


def test_too_many_wrong_passwords_say_when_to_try_again(person: User):
    browser = Client()
    for _ in range(limits.SIGN_IN_PER_ACCOUNT_HOUR):
        sign_in(browser, "wrong")

    page = text_of(sign_in(browser))

    assert re.search(r"Too many sign-ins failed. Try again in \d+ s.", page)
    assert browser.get("/admin/").status_code == 302


def test_a_closed_account_opens_nothing(person: User):
    User.objects.filter(pk=person.pk).update(is_active=False)
    browser = Client()

    sign_in(browser)

    assert browser.get("/admin/").status_code == 302


def test_nobody_makes_an_account_alone():
    assert Client().get("/accounts/signup/").status_code == 404
    with pytest.raises(NoReverseMatch):
        reverse("account_signup")


def test_the_pages_of_strangers_name_no_organisation(person: User):
    page = text_of(Client().get(SIGN_IN))

    assert "Acme" not in page
    assert "console/organization/switch" not in page


def test_two_step_sign_in_is_set_up_in_the_browser(
    person: User, django_capture_on_commit_callbacks
):
    browser = Client()
    sign_in(browser)

    setup = "/accounts/2fa/totp/activate/"
    again = browser.get(setup).url
    browser.post(again, {"password": PASSWORD})
    page = text_of(browser.get(setup))
    secret = browser.session[totp.SECRET_SESSION_KEY]
    assert "data:image/svg+xml" in page
    with django_capture_on_commit_callbacks(execute=True):
        done = browser.post(setup, {"code": code_of(secret)})

    assert again.startswith("/accounts/reauthenticate/")
    assert done.status_code == 302
    assert Authenticator.objects.filter(user=person, type="totp").exists()
    assert AuditEntry.objects.filter(action="user.authenticator_add").exists()
    assert "Recovery codes" in text_of(browser.get("/accounts/2fa/recovery-codes/"))


def test_with_an_authenticator_app_the_password_alone_opens_nothing(person: User):
    secret = with_totp(person)
    browser = Client()

    first = sign_in(browser)
    before = browser.get("/admin/").status_code
    second = browser.post(first.url, {"code": code_of(secret)})

    assert first.url == "/accounts/2fa/authenticate/"
    assert before == 302
    assert second.url == "/admin/"
    assert browser.get("/admin/").status_code == 200


def test_codes_cannot_be_guessed_without_end(person: User):
    secret = with_totp(person)
    browser = Client()
    path = sign_in(browser).url
    for _ in range(limits.SIGN_IN_PER_ACCOUNT_HOUR):
        browser.post(path, {"code": "000000"})

    page = text_of(browser.post(path, {"code": code_of(secret)}))

    assert "Too many codes were wrong. Try again in" in page
    assert browser.get("/admin/").status_code == 302


def test_a_recovery_code_works_once(person: User):
    with_totp(person)
    from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes

    code = RecoveryCodes.activate(person).get_unused_codes()[0]

    def try_it() -> int:
        browser = Client()
        browser.post(sign_in(browser).url, {"code": code})
        return browser.get("/admin/").status_code

    assert [try_it(), try_it()] == [200, 302]


def test_changing_the_password_asks_for_the_old_one(person: User):
    browser = Client()
    sign_in(browser)
    new = "another long password"

    wrong = browser.post(
        "/accounts/password/change/", {"oldpassword": "x", "password1": new, "password2": new}
    )
    right = browser.post(
        "/accounts/password/change/", {"oldpassword": PASSWORD, "password1": new, "password2": new}
    )

    person.refresh_from_db()
    assert (wrong.status_code, right.status_code) == (200, 302)
    assert person.check_password(new)
    assert AuditEntry.objects.filter(action="user.password_change").count() == 1


def test_the_users_menu_leads_to_two_step_sign_in(admin: Principal):
    assert get_adapter() is not None
    browser = Client()
    browser.force_login(admin.user, backend="accounts.backends.PortalBackend")

    page = text_of(browser.get("/admin/"))

    assert 'href="/accounts/2fa/"' in page
    assert 'href="/accounts/password/change/"' in page


def test_a_session_ends_after_half_a_day(settings):
    assert timedelta(seconds=settings.SESSION_COOKIE_AGE) == timedelta(hours=12)
