"""What devices fetch and report of updates."""

from tests.routes.shapes import Operation

UPDATES: list[Operation] = []
