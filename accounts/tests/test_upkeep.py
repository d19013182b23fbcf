from datetime import timedelta

from django.contrib.sessions.models import Session

from accounts import tasks
from accounts.models import RateBucket, RefreshToken
from accounts.services.sign_in import tokens_issue
from accounts.tests.factories import UserFactory
from common import clock, limits


def test_only_what_has_served_its_time_is_thrown_away(db):
    now = clock.now()
    for name, ago in [("old", timedelta(seconds=1)), ("new", timedelta(hours=-1))]:
        RateBucket.objects.create(key=name, full_until=now - ago)
        Session.objects.create(session_key=name, session_data="x", expire_date=now - ago)
    user = UserFactory()
    tokens_issue(user=user, now=now)
    RefreshToken.objects.create(
        user=user,
        family=user.pk,
        sha256=b"x" * 32,
        expires_at=now - limits.REFRESH_TOKEN_TTL,
    )

    tasks.accounts_tidy()
    tasks.accounts_tidy()

    assert list(RateBucket.objects.values_list("key", flat=True)) == ["new"]
    assert list(Session.objects.values_list("session_key", flat=True)) == ["new"]
    assert RefreshToken.objects.count() == 1
