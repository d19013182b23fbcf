"""Carries what a device's own code sends to the portal's doors, in this process."""

import io
from typing import Any

import requests
from django.test import Client
from requests.adapters import BaseAdapter
from urllib3 import HTTPResponse

from tests.gateway_client import GatewayClient

_OF_THE_GATEWAY = ("/heartbeat", "/commands/claim")


class Doors(BaseAdapter):
    """Django's doors, and the gateway's where there is one."""

    def __init__(self, gateway: GatewayClient | None = None) -> None:
        super().__init__()
        self._client = Client()
        self._gateway = gateway

    def send(self, request: requests.PreparedRequest, **_options: Any) -> requests.Response:
        method, url, headers = str(request.method), str(request.path_url), dict(request.headers)
        body = request.body or b""
        content = body if isinstance(body, bytes) else body.encode()
        response = requests.Response()
        if self._gateway is not None and url.partition("?")[0].endswith(_OF_THE_GATEWAY):
            heard = self._gateway.request(method, url, content, headers)
            response.status_code, told = heard.status, heard.body
            response.headers.update(heard.headers)
        else:
            kind = str(headers.get("Content-Type", ""))
            answer = self._client.generic(method, url, content, kind, headers=headers)
            response.status_code = answer.status_code
            response.headers.update(answer.headers)
            told = b"".join(answer.streaming_content) if answer.streaming else answer.content
        response.raw = HTTPResponse(io.BytesIO(told), preload_content=False)
        return response

    def close(self) -> None:
        """Nothing is open."""
