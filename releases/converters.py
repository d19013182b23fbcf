"""Releases and roles in paths: what has another shape names nothing."""

from django.urls import register_converter

from common import limits


class _Word:
    regex = ""

    def to_python(self, value: str) -> str:
        """Return the word as it stands."""
        return value

    def to_url(self, value: str) -> str:
        """Return the word as it stands."""
        return value


class VersionConverter(_Word):
    """`<version:version>`: the version of a release, or its id."""

    regex = limits.VERSION_PATTERN.strip("^$")


class RoleConverter(_Word):
    """`<role:role>`: a role of devices, or `any`."""

    regex = limits.RELEASE_ROLE_PATTERN.strip("^$")


register_converter(VersionConverter, "version")
register_converter(RoleConverter, "role")
