"""What the schema says is what the portal does."""

from typing import Any

import pytest
from hypothesis import given

from tests.by_schema import (
    DJANGO,
    IDENTITIES,
    LABELS,
    ROUTES,
    VERDICTS,
    by_django,
    cases,
    quick,
    requested,
    told_of,
)
from tests.gateway_routes import GATEWAY
from tests.identities import World, new_client
from tests.routes import OPERATIONS
from tests.schema import path_of
from tests.world import rolled_back


def test_the_schema_describes_every_operation_of_the_api():
    described = {tuple(label.split(" ")) for label in LABELS}
    offered = {(one.method, path_of(ROUTES[one.route])) for one in OPERATIONS}
    offered |= {
        (one.method, one.path.replace("<device:device_id>", "{device_id}")) for one in GATEWAY
    }

    assert offered - described == set()


@pytest.mark.django_db
@pytest.mark.parametrize("label", DJANGO)
def test_the_portal_answers_as_its_schema_says(world: World, label: str):
    """Every request is sent as each caller: making one costs more than sending it."""
    client = new_client()

    @quick
    @given(case=cases(label, world.acme.names))
    def probe(case: Any) -> None:
        for name in IDENTITIES:
            request = requested(case, world.identities[name].headers)
            with rolled_back():
                response = by_django(client, request)
            with told_of(name):
                case.validate_response(response, checks=VERDICTS)

    probe()
