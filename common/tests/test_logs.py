import pytest

from common.logs import MASK, mask_secrets

TOKEN = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    "secret",
    [
        TOKEN,
        f"fk_{TOKEN}",
        f"et_{TOKEN}",
        f"rt_{TOKEN}",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl",
    ],
)
def test_what_looks_like_a_secret_is_masked_wherever_it_stands(secret):
    event = {
        "event": f"failed with {secret}",
        "detail": {"deep": [f"x {secret} y"]},
        "exception": f"Traceback\n  {secret}\n",
    }

    masked = mask_secrets(None, "error", dict(event))

    assert secret not in str(masked)
    assert MASK in masked["event"]


def test_fields_named_like_secrets_are_masked_whatever_they_hold():
    masked = mask_secrets(None, "info", {"password": "hunter2", "event": "x", "api_key": "short"})

    assert masked == {"password": MASK, "event": "x", "api_key": MASK}


def test_credentials_in_addresses_are_masked():
    masked = mask_secrets(None, "info", {"event": "postgresql://fleet:s3cret@db/fleet"})

    assert "s3cret" not in masked["event"]
