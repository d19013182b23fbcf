"""Throwing away what has served its time."""

from datetime import datetime

from django.contrib.sessions.models import Session

from accounts.models import RateBucket, RefreshToken


def accounts_tidy(*, now: datetime) -> dict[str, int]:
    """Delete empty rate buckets, expired refresh tokens and expired sessions; return how many."""
    return {
        "rate_buckets": RateBucket.objects.filter(full_until__lt=now).delete()[0],
        "refresh_tokens": RefreshToken.objects.filter(expires_at__lt=now).delete()[0],
        "sessions": Session.objects.filter(expire_date__lt=now).delete()[0],
    }
