"""What has to happen in the database before the processes start; run as a child of `up`.

One Django process does all of it, because starting Django costs a second. Prints one JSON object:
{"bootstrap": {...}, "enrollment_token": str | null, "password_is_valid": bool}.
A refusal is one line on stderr and code 3.
"""

import hashlib
import io
import json
import os
import sys
from pathlib import Path
from typing import Any

from fleetsite.supervisor.options import masked

REFUSED = 3
LEAST_POSTGRES = 15
CONNECT_TIMEOUT_S = 5
TOKEN_LIFE_S = 600


def main() -> int:
    try:
        _check_database(os.environ["DATABASE_URL"])
        _check_redis(os.environ["REDIS_URL"])
    except _RefusalError as refusal:
        sys.stderr.write(f"{refusal}\n")
        return REFUSED
    import django

    # A migration may take longer than a request.
    os.environ.setdefault("STATEMENT_TIMEOUT_MS", "0")
    django.setup()
    json.dump(_prepare(enroll="--enroll" in sys.argv), sys.stdout)
    return 0


class _RefusalError(Exception):
    pass


def _check_database(url: str) -> None:
    import psycopg

    named = f"DATABASE_URL ({masked(url)})"
    advice = "start that server, correct DATABASE_URL, or unset it to use the embedded one"
    try:
        with psycopg.connect(url, connect_timeout=CONNECT_TIMEOUT_S) as connection:
            version = connection.info.server_version // 10_000
    except psycopg.OperationalError as problem:
        reason = " ".join(str(problem).split())
        raise _RefusalError(f"{named} does not answer: {reason}; {advice}.") from None
    except (psycopg.Error, UnicodeError):
        # Its text may quote a part of the URL, and that may be the password.
        raise _RefusalError(f"{named} is not a PostgreSQL URL; {advice}.") from None
    if version < LEAST_POSTGRES:
        raise _RefusalError(
            f"{named} is PostgreSQL {version}, and {LEAST_POSTGRES} is needed; {advice}."
        )


def _check_redis(url: str) -> None:
    import redis

    named = f"REDIS_URL ({masked(url)})"
    advice = "start that server, correct REDIS_URL, or unset it to use the embedded one"
    try:
        redis.Redis.from_url(url, socket_connect_timeout=CONNECT_TIMEOUT_S, socket_timeout=5).ping()
    except ValueError:
        raise _RefusalError(f"{named} is not a Redis URL; {advice}.") from None
    except (redis.RedisError, OSError) as problem:
        raise _RefusalError(
            f"{named} does not answer: {type(problem).__name__}; {advice}."
        ) from None


def _prepare(*, enroll: bool) -> dict[str, Any]:
    _call("migrate", interactive=False, verbosity=0)
    _collect_static()
    bootstrap = json.loads(_call("portal_bootstrap"))
    token = None
    if enroll or bootstrap["created"]:
        token = _call(
            "enrollment_token_issue", "--name", "make up", "--max-uses", "1",
            "--expires-in", str(TOKEN_LIFE_S),
        ).strip()  # fmt: skip
    valid = "--check-password" in sys.argv and _password_is_valid(bootstrap["email"])
    return {"bootstrap": bootstrap, "enrollment_token": token, "password_is_valid": valid}


def _password_is_valid(email: str) -> bool:
    """Whether the password of an interrupted first start is the administrator's."""
    from django.contrib.auth import get_user_model

    found = get_user_model().objects.filter(email=email).first()
    return found is not None and found.check_password(os.environ["FLEET_ADMIN_PASSWORD"])


def _call(*arguments: str, **options: Any) -> str:
    from django.core.management import call_command

    said = io.StringIO()
    call_command(*arguments, stdout=said, **options)
    return said.getvalue()


def _collect_static() -> None:
    """Collect the static files when one of them changed since the last time."""
    from django.conf import settings

    if not settings.STATIC_ROOT:
        return
    stamp = Path(settings.STATIC_ROOT) / ".collected"
    names, wanted = _static_files()
    if stamp.exists() and stamp.read_text(encoding="utf-8") == wanted:
        return
    stamp.unlink(missing_ok=True)
    # Compressed copies take 20 seconds to make and gain nothing on one machine.
    settings.WHITENOISE_SKIP_COMPRESS_EXTENSIONS = {Path(name).suffix[1:] for name in names}
    _call("collectstatic", interactive=False, verbosity=0)
    stamp.write_text(wanted, encoding="utf-8")


def _static_files() -> tuple[list[str], str]:
    """The names of all static files, and a digest that changes when one of them does."""
    from django.contrib.staticfiles.finders import get_finders

    digest = hashlib.sha256()
    names = []
    for finder in get_finders():
        for name, storage in finder.list([]):
            found = Path(storage.path(name)).stat()
            names.append(name)
            digest.update(f"{name}\0{found.st_size}\0{found.st_mtime_ns}\n".encode())
    return names, digest.hexdigest()


if __name__ == "__main__":
    sys.exit(main())
