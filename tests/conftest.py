"""One filled database for a whole module: built once, every test inside undone, gone at the end.

The modules that use it carry the mark `django_db`, which undoes what each test does.
"""

import logging
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import transaction
from django.test import override_settings

from tests.gateway_client import GatewayClient
from tests.identities import World, build_world
from tests.running_portal import RunningPortal


@pytest.fixture(scope="module")
def world(
    django_db_setup: None, django_db_blocker: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    """Two organisations and who calls, in one transaction that never ends well."""
    settings = override_settings(
        MEDIA_ROOT=tmp_path_factory.mktemp("media"),
        # What hashing costs is tested elsewhere.
        PASSWORD_HASHERS=[
            "django.contrib.auth.hashers.MD5PasswordHasher",
            "django.contrib.auth.hashers.PBKDF2PasswordHasher",
        ],
    )
    # Thousands of requests: their log lines would cost more than they tell.
    logging.disable(logging.WARNING)
    try:
        with django_db_blocker.unblock(), settings, transaction.atomic():
            yield build_world()
            transaction.set_rollback(True)
    finally:
        logging.disable(logging.NOTSET)


@pytest.fixture
def kept_world(transactional_db: None, tmp_path: Path) -> Iterator[World]:
    """The same database, committed: the gateway has connections of its own."""
    with override_settings(MEDIA_ROOT=tmp_path):
        with transaction.atomic():
            world = build_world()
        yield world


@pytest.fixture
def gateway(kept_world: World) -> Iterator[GatewayClient]:
    """A running gateway on the committed database."""
    client = GatewayClient()
    yield client
    client.close()


@pytest.fixture(scope="session")
def portal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningPortal]:
    """A portal that runs, for every story: each has devices of its own.

    The modules that use it are of one xdist group, so that there is one of it.
    """
    running = RunningPortal(tmp_path_factory.mktemp("story"))
    running.environment["SIGNING_KEY"] = secrets.token_hex(32)
    try:
        running.start()
        yield running
    finally:
        running.stop()
