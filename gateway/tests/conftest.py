from collections.abc import Iterator

import pytest

from tests.gateway_client import GatewayClient


@pytest.fixture
def gateway(transactional_db: None) -> Iterator[GatewayClient]:
    """A gateway on the test's database; what tests write must be committed for it to see."""
    client = GatewayClient()
    yield client
    client.close()
