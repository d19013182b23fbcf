"""What the schema says of the gateway's paths is what the gateway does."""

from typing import Any

import pytest
from hypothesis import given

from tests.by_schema import IDENTITIES, OWN, VERDICTS, by_gateway, cases, quick, requested
from tests.gateway_client import GatewayClient
from tests.identities import World

pytestmark = pytest.mark.xdist_group("gateway")


@pytest.mark.parametrize("name", IDENTITIES)
@pytest.mark.parametrize("label", OWN)
def test_the_gateway_answers_as_its_schema_says(
    kept_world: World, gateway: GatewayClient, label: str, name: str
):
    headers = kept_world.identities[name].headers

    @quick
    @given(case=cases(label, kept_world.acme.names))
    def probe(case: Any) -> None:
        request = requested(case, headers)
        # Waiting for a command is tested elsewhere.
        if "wait=" not in str(request.url) or "wait=0" in str(request.url):
            case.validate_response(by_gateway(gateway, request), checks=VERDICTS)

    probe()
