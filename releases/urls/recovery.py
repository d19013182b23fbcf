from typing import Any

RECOVERY: list[Any] = []
