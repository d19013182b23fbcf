"""The HTTP library: httpx2 carries httpx on, and asks for Python 3.11. They share one interface."""

import sys

if sys.version_info >= (3, 11):
    import httpx2 as httpx
else:
    import httpx

__all__ = ["httpx"]
