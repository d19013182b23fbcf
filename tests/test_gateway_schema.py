"""What the schema says of the gateway's paths is what the gateway does."""

from typing import Any

import pytest
from hypothesis import given

from tests.by_schema import (
    IDENTITIES,
    OWN,
    VERDICTS,
    by_gateway,
    cases,
    quick,
    requested,
    told_of,
)
from tests.gateway_client import GatewayClient
from tests.identities import World

pytestmark = pytest.mark.xdist_group("gateway")


@pytest.mark.parametrize("label", OWN)
def test_the_gateway_answers_as_its_schema_says(
    kept_world: World, gateway: GatewayClient, label: str
):
    @quick
    @given(case=cases(label, kept_world.acme.names))
    def probe(case: Any) -> None:
        for name in IDENTITIES:
            request = requested(case, kept_world.identities[name].headers)
            # Waiting for a command is tested elsewhere.
            if "wait=" in str(request.url) and "wait=0" not in str(request.url):
                return
            with told_of(name):
                case.validate_response(by_gateway(gateway, request), checks=VERDICTS)

    probe()
