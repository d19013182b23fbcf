from typing import Any

TRUST: list[Any] = []
