"""The ASGI application in front of Django: the hot device paths are its own, the rest is not."""
