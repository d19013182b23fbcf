"""Drift, safe mode and recovery."""

from tests.routes.shapes import Operation

RECOVERY: list[Operation] = []
