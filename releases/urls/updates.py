from typing import Any

UPDATES: list[Any] = []
