from typing import Any

RELEASES: list[Any] = []
