"""The console's sidebar, by task."""

from typing import Any

SIDEBAR: dict[str, Any] = {"show_search": False, "show_all_applications": False, "navigation": []}
