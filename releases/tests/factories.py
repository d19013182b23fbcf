"""Releases, bundles, rollouts and updates for tests."""

import hashlib
from datetime import timedelta
from typing import Any

import factory
from factory.django import DjangoModelFactory

from accounts.tests.factories import OrganizationFactory
from common import clock
from devices.tests.factories import DeviceFactory
from releases.models import (
    Artifact,
    DeviceUpdate,
    Release,
    Rollout,
    RolloutStage,
    RolloutTarget,
    TrustMetadata,
    TrustTarget,
)
from releases.trust.paths import manifest_path
from releases.trust.roles import GENERAL, ROOT, STAGED, TARGETS

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class ReleaseFactory(DjangoModelFactory):
    class Meta:
        model = Release

    organization = factory.SubFactory(OrganizationFactory)
    version = factory.Sequence(lambda n: f"1.0.{n}")
    commit = COMMIT
    created_at = factory.LazyFunction(clock.now)


class ArtifactFactory(DjangoModelFactory):
    """A bundle of a release that can still be changed; publish afterwards with `published`."""

    class Meta:
        model = Artifact

    release = factory.SubFactory(ReleaseFactory)
    organization = factory.SelfAttribute("release.organization")
    status = "stored"
    size = 10
    sha256 = hashlib.sha256(b"0123456789").hexdigest()
    received = 10
    created_at = factory.LazyFunction(clock.now)


def published(release: Release, *, counter: int = 1) -> Release:
    """Make a release published, past all services."""
    now = clock.now()
    Release.objects.filter(pk=release.pk).update(state="validated", validated_at=now)
    Release.objects.filter(pk=release.pk).update(
        state="published", published_at=now, counter=counter, published_by="a test"
    )
    release.refresh_from_db()
    return release


def vouched(release: Release) -> Release:
    """Let the organisation's signatures cover a release for all segments, past all ceremonies."""
    now = clock.now()
    organization = release.organization
    for role in (ROOT, TARGETS, STAGED, GENERAL):
        TrustMetadata.objects.get_or_create(
            organization=organization,
            role=role,
            defaults={
                "version": 1,
                "content": b"{}",
                "expires_at": now + timedelta(days=365),
                "created_at": now,
            },
        )
    return listed(release)


def listed(release: Release) -> Release:
    """Let signed metadata list the manifests of a release."""
    now = clock.now()
    for artifact in release.artifacts.all():
        for trust in (STAGED, GENERAL):
            path = manifest_path(trust=trust, role=artifact.role, version=release.version)
            TrustTarget.objects.update_or_create(
                organization=release.organization,
                path=path,
                defaults={
                    "release": release,
                    "artifact": artifact,
                    "sha256": "0" * 64,
                    "content": b"{}",
                    "created_at": now,
                    "signed_at": now,
                },
            )
    return release


class RolloutFactory(DjangoModelFactory):
    class Meta:
        model = Rollout

    release = factory.SubFactory(ReleaseFactory)
    organization = factory.SelfAttribute("release.organization")
    name = factory.Sequence(lambda n: f"rollout {n}")
    salt = "0123456789abcdef"
    created_at = factory.LazyFunction(clock.now)


class RolloutStageFactory(DjangoModelFactory):
    class Meta:
        model = RolloutStage

    rollout = factory.SubFactory(RolloutFactory)
    organization = factory.SelfAttribute("rollout.organization")
    position = 0
    segment = "canary"


class RolloutTargetFactory(DjangoModelFactory):
    class Meta:
        model = RolloutTarget

    rollout = factory.SubFactory(RolloutFactory)
    organization = factory.SelfAttribute("rollout.organization")
    device = factory.SubFactory(DeviceFactory, organization=factory.SelfAttribute("..organization"))
    segment = factory.SelfAttribute("device.segment")
    bucket = 0
    added_at = factory.LazyFunction(clock.now)


class DeviceUpdateFactory(DjangoModelFactory):
    class Meta:
        model = DeviceUpdate

    release = factory.SubFactory(ReleaseFactory)
    organization = factory.SelfAttribute("release.organization")
    device = factory.SubFactory(DeviceFactory, organization=factory.SelfAttribute("..organization"))
    from_version = "0.9.0"
    to_version = factory.SelfAttribute("release.version")
    to_commit = factory.SelfAttribute("release.commit")
    scheduled_at = factory.LazyFunction(clock.now)


def update_of(device: Any, release: Release, **fields: Any) -> DeviceUpdate:
    """Make an update of a device of the release's organisation."""
    made: DeviceUpdate = DeviceUpdateFactory(device=device, release=release, **fields)
    return made
