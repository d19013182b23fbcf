from typing import Any

ROLLOUTS: list[Any] = []
