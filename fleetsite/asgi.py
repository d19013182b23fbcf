"""The gateway process: the hot device paths, and Django behind them."""

import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "fleetsite.settings")
django = get_asgi_application()

from gateway.application import Gateway  # noqa: E402 - the rooms can be imported from here on

application = Gateway(django)
