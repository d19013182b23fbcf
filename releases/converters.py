"""Releases in paths: what has another shape names nothing."""

from django.urls import register_converter

from common import limits


class VersionConverter:
    """`<version:version>`: the version of a release, or its id."""

    regex = limits.VERSION_PATTERN.strip("^$")

    def to_python(self, value: str) -> str:
        """Return the word as it stands."""
        return value

    def to_url(self, value: str) -> str:
        """Return the word as it stands."""
        return value


register_converter(VersionConverter, "version")
