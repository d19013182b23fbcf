"""Releases, bundles, and how they are trusted."""

from tests.routes.shapes import Operation

RELEASES: list[Operation] = []
