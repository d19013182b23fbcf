"""Reads over releases that join several models; nothing here writes."""

from releases.selectors.names import named, of_role

__all__ = ["named", "of_role"]
