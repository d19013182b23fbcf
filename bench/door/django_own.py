"""The gateway with Django's own ASGI handler behind it, for comparison."""

import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DATABASE_POOL", "1")
django = get_asgi_application()

# The rooms can be imported from here on.
from gateway.application import Gateway  # noqa: E402 - after Django is set up

application = Gateway(django)
