"""A request that is sent twice acts once: the first answer is kept and given again.

The key is claimed in the transaction of the effect, so that both exist or neither does.
"""

import base64
import json
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256
from uuid import UUID

from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings
from django.db import OperationalError
from psycopg.errors import LockNotAvailable

from common import clock, limits
from common.db import fetch_all
from common.errors import DomainError, InvalidInput
from common.models import IdempotencyKey

HEADER = "Idempotency-Key"
REPLAYED = "Idempotent-Replayed"
KEPT = timedelta(hours=48)
# Of the answer's headers those a caller acts on.
HEADERS_KEPT = ("Content-Type", "Location")


class KeyReused(DomainError):
    """The key was used for another request: other body, path, method or caller."""

    code = "idempotency_key_reused"
    http_status = 422


class StillRunning(DomainError):
    """The first request with this key has not ended; `Retry-After` says when to come back."""

    code = "idempotency_in_progress"


class AnswerUnreadable(DomainError):
    """The request was performed; its answer was kept under a key the portal has no more."""

    code = "idempotency_answer_lost"


@dataclass(frozen=True)
class Asked:
    """A request with a key: who asks, in which organisation, for what."""

    key: str
    organization_id: UUID
    caller: str
    method: str
    path: str
    body: bytes

    def __post_init__(self) -> None:
        fits = 1 <= len(self.key) <= limits.IDEMPOTENCY_KEY_CHARS
        if not (fits and self.key.isascii() and self.key.isprintable()):
            sentence = f"1 to {limits.IDEMPOTENCY_KEY_CHARS} printable ASCII characters."
            raise InvalidInput(
                f"The header {HEADER} takes {sentence}", errors={HEADER: [f"Send {sentence}"]}
            )

    @property
    def key_sha256(self) -> bytes:
        return sha256(self.key.encode()).digest()

    @property
    def request_sha256(self) -> bytes:
        """Digest of everything that makes it this request and no other."""
        parts = [self.caller.encode(), self.method.encode(), self.path.encode(), self.body]
        return sha256(b"".join(sha256(part).digest() for part in parts)).digest()


@dataclass(frozen=True)
class Answer:
    """What was answered. `headers` are those of HEADERS_KEPT that were set."""

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)


def _cipher(secret: str, asked: Asked) -> Fernet:
    """Return the cipher of one answer: neither the table nor the server's key alone opens it."""
    derived = HKDF(
        algorithm=SHA256(), length=32, salt=asked.organization_id.bytes, info=b"idempotency-answer"
    ).derive(secret.encode() + b"\0" + asked.key.encode())
    return Fernet(base64.urlsafe_b64encode(derived))


def _sealed(answer: Answer, asked: Asked) -> bytes:
    whole = {"headers": answer.headers, "body": base64.b64encode(answer.body).decode()}
    return _cipher(settings.SECRET_KEY, asked).encrypt(json.dumps(whole).encode())


def _opened(row: IdempotencyKey, asked: Asked) -> Answer:
    for secret in [settings.SECRET_KEY, *map(str, settings.SECRET_KEY_FALLBACKS)]:
        try:
            whole = json.loads(_cipher(secret, asked).decrypt(bytes(row.answer or b"")))
        except InvalidToken:
            continue
        body = base64.b64decode(whole["body"])
        return Answer(status=row.status or 200, body=body, headers=whole["headers"])
    raise AnswerUnreadable(
        "The request was performed before; its answer cannot be read any more because the "
        "portal's SECRET_KEY changed. Look at the present state instead of sending it again."
    )


def _claim(asked: Asked) -> bool:
    """Take the key; wait for another transaction that has it. True when it is taken."""
    try:
        return bool(
            fetch_all(
                """
                INSERT INTO common_idempotencykey
                            (organization_id, key_sha256, request_sha256, created_at)
                     VALUES (%s, %s, %s, %s)
                ON CONFLICT (organization_id, key_sha256) DO NOTHING
                  RETURNING id
                """,
                [asked.organization_id, asked.key_sha256, asked.request_sha256, clock.now()],
            )
        )
    except OperationalError as error:
        if isinstance(error.__cause__, LockNotAvailable):
            raise StillRunning(
                f"The first request with this {HEADER} is still running. Send it again in 1 s.",
                retry_after_s=1,
            ) from None
        raise


def begin(asked: Asked) -> Answer | None:
    """Return the answer given before, or None: the caller does the work, then calls `finish`.

    Must run in the transaction of the effect. Waits for another request with the same key as
    long as `lock_timeout` allows. Raises KeyReused, StillRunning or AnswerUnreadable.
    """
    while not _claim(asked):
        row = IdempotencyKey.objects.filter(
            organization_id=asked.organization_id, key_sha256=asked.key_sha256
        ).first()
        if row is None:
            # It was thrown away between the two statements.
            continue
        if bytes(row.request_sha256) != asked.request_sha256:
            raise KeyReused(
                f"This {HEADER} was used for another request: other body, path, method or caller. "
                "Make a new key for a new request."
            )
        return _opened(row, asked)
    return None


def finish(asked: Asked, answer: Answer) -> None:
    """Keep the answer of a request that `begin` let through."""
    IdempotencyKey.objects.filter(
        organization_id=asked.organization_id, key_sha256=asked.key_sha256
    ).update(status=answer.status, answer=_sealed(answer, asked))


def release(asked: Asked) -> None:
    """Give the key back: the answer is none that could be given again."""
    IdempotencyKey.objects.filter(
        organization_id=asked.organization_id, key_sha256=asked.key_sha256
    ).delete()


def idempotency_tidy(*, now: datetime) -> int:
    """Forget answers older than `KEPT`; return how many."""
    return IdempotencyKey.objects.filter(created_at__lt=now - KEPT).delete()[0]
