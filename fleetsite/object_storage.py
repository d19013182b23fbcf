"""Where bundles of releases are kept, from one setting."""

from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured

from common import limits
from fleetsite import env

FILES = {"BACKEND": "django.core.files.storage.FileSystemStorage"}
_OPTIONS = {"endpoint": "endpoint_url", "region": "region_name"}


def storage_of(url: str) -> dict[str, Any]:
    """Return the entry of STORAGES for `s3://bucket/prefix?endpoint=…&region=…`; empty is the disk.

    Keys come from ARTIFACT_STORAGE_KEY and ARTIFACT_STORAGE_SECRET (or their `_FILE`), or from
    what the machine is: boto's own chain. Never from the URL, which ends up in logs.
    """
    if not url:
        return FILES
    parts = urlsplit(url)
    if parts.scheme != "s3" or not parts.hostname or "@" in parts.netloc:
        raise ImproperlyConfigured(
            "ARTIFACT_STORAGE_URL must look like s3://bucket/prefix?endpoint=https://…,"
            " without keys in it."
        )
    given = dict(parse_qsl(parts.query))
    unknown = set(given) - set(_OPTIONS)
    if unknown:
        raise ImproperlyConfigured(
            f"ARTIFACT_STORAGE_URL knows {', '.join(sorted(_OPTIONS))}, not {', '.join(unknown)}."
        )
    return {
        "BACKEND": "storages.backends.s3.S3Storage",
        "OPTIONS": {
            "bucket_name": parts.hostname,
            "location": unquote(parts.path).strip("/"),
            "access_key": env.text("ARTIFACT_STORAGE_KEY", "") or None,
            "secret_key": env.text("ARTIFACT_STORAGE_SECRET", "") or None,
            "default_acl": None,
            # Guessed from the name, `.tar.gz` would become a Content-Encoding that clients undo.
            "object_parameters": {"ContentType": "application/gzip"},
            "file_overwrite": False,
            "querystring_auth": True,
            "querystring_expire": limits.ARTIFACT_LINK_S,
            "signature_version": "s3v4",
            "addressing_style": "path",
            **{_OPTIONS[name]: value for name, value in given.items()},
        },
    }
