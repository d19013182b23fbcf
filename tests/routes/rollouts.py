"""Rollouts, eligibility and calendars."""

from tests.routes.shapes import Operation

ROLLOUTS: list[Operation] = []
