"""The gateway process: the hot device paths, and Django behind them.

`uvicorn fleetsite.asgi:application --http fleetsite.asgi:GatewayProtocol`; without the protocol
everything works too, only heartbeats cost more.
"""

import os

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "fleetsite.settings")
# Behind ASGI every request has a thread of its own: connections kept per thread would pile up
# until PostgreSQL has none left.
os.environ.setdefault("DATABASE_POOL", "1")
django.setup(set_prefix=False)

# The rooms can be imported from here on.
from gateway.application import Gateway  # noqa: E402 - after Django is set up
from gateway.handler import OneThreadHandler  # noqa: E402 - after Django is set up
from gateway.protocol import GatewayProtocol  # noqa: E402 - after Django is set up

__all__ = ["GatewayProtocol", "application"]

application = Gateway(OneThreadHandler())
