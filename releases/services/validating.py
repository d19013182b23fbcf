"""Looking into the bundles of a release before anybody may publish it."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from tempfile import TemporaryFile
from typing import IO, Any
from uuid import UUID

from django.db import transaction

from audit import services as audit
from audit.services import Actor
from common import limits
from releases.errors import ReleaseConflict
from releases.models import ANY_ROLE, Artifact, Release
from releases.services.bundle_reports import bundle_report
from releases.services.releases import release_open
from releases.storages import artifact_storage
from releases.validation.findings import ERROR
from releases.validation.report import Report

CHUNK = 1024 * 1024


def release_validate(*, release: Release, actor: Actor, now: datetime) -> Release:
    """Check every bundle of a release; without errors it is validated, otherwise a draft.

    Reads outside any transaction. Raises ReleaseFrozen once it is published, ReleaseConflict when
    a bundle changed meanwhile.
    """
    with transaction.atomic():
        row = release_open(release)
        artifacts = list(row.artifacts.order_by("role"))
    reports = {one.pk: _report(one) for one in artifacts if one.status == Artifact.Status.STORED}
    findings = [*_missing(row, artifacts)]
    for one in artifacts:
        if one.pk in reports:
            findings += [_of_role(one, finding) for finding in reports[one.pk].findings]
    findings.sort(key=lambda finding: finding["severity"] != ERROR)
    return _decide(
        row, artifacts, reports, findings[: limits.RELEASE_FINDINGS], actor=actor, now=now
    )


def _report(artifact: Artifact) -> Report:
    with _local(artifact) as file:
        return bundle_report(file)


@contextmanager
def _local(artifact: Artifact) -> Iterator[IO[bytes]]:
    """Open a stored bundle as a file of this machine: the reader inherits nothing else."""
    with artifact_storage().open(str(artifact.file.name), "rb") as stored:
        if getattr(stored, "obj", None) is None:
            yield stored
            return
        with TemporaryFile() as copy:
            while chunk := stored.read(CHUNK):
                copy.write(chunk)
            copy.flush()
            yield copy


def _missing(release: Release, artifacts: list[Artifact]) -> Iterator[dict[str, Any]]:
    stored = {one.role for one in artifacts if one.status == Artifact.Status.STORED}
    for one in artifacts:
        if one.status != Artifact.Status.STORED:
            yield _error("bundle", f"The bundle for {one.role_name} is not uploaded to its end.")
        elif one.role and release.roles and one.role not in release.roles:
            yield _error("bundle", f"There is a bundle for {one.role}; the release is not for it.")
    if not stored:
        yield _error("bundle", "The release has no bundle. Upload one.")
    elif "" not in stored:
        lacking = [role for role in release.roles if role not in stored]
        if lacking or not release.roles:
            names = ", ".join(lacking) or "every role"
            yield _error("bundle", f"There is no bundle for {names}, and none for “{ANY_ROLE}”.")


def _error(rule: str, message: str) -> dict[str, Any]:
    return {"severity": ERROR, "rule": rule, "path": "", "message": message}


def _of_role(artifact: Artifact, finding: dict[str, Any]) -> dict[str, Any]:
    """Say which bundle a finding is about, where a release has one per role."""
    if not artifact.role:
        return finding
    return {**finding, "message": f"{artifact.role}: {finding['message']}"}


@transaction.atomic
def _decide(
    release: Release,
    artifacts: list[Artifact],
    reports: dict[UUID, Report],
    findings: list[dict[str, Any]],
    *,
    actor: Actor,
    now: datetime,
) -> Release:
    row = release_open(release)
    _expect_unchanged(release, row, artifacts)
    for artifact in artifacts:
        if artifact.pk in reports:
            _keep(artifact, reports[artifact.pk])
    errors = sum(one["severity"] == ERROR for one in findings)
    row.state = Release.State.DRAFT if errors else Release.State.VALIDATED
    row.findings, row.validated_at = findings, now
    row.save(update_fields=["state", "findings", "validated_at"])
    audit.record(
        actor=actor,
        organization=row.organization,
        action="release.validate",
        target=row,
        after={"state": row.state, "errors": errors, "findings": len(findings)},
    )
    return row


def _expect_unchanged(before: Release, row: Release, artifacts: list[Artifact]) -> None:
    def facts(them: list[Artifact]) -> list[tuple[Any, ...]]:
        return [(one.pk, one.status, one.sha256) for one in them]

    present = list(row.artifacts.order_by("role"))
    if facts(present) != facts(artifacts) or row.roles != before.roles:
        raise ReleaseConflict("The release changed while it was looked at. Validate it again.")


def _keep(artifact: Artifact, report: Report) -> None:
    artifact.files = report.files
    artifact.compose_path = report.compose_path
    artifact.compose_sha256 = report.compose_sha256
    artifact.save(update_fields=["files", "compose_path", "compose_sha256"])
