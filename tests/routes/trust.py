"""Signed metadata."""

from tests.routes.shapes import Operation

TRUST: list[Operation] = []
