import csv
import io
import subprocess
import sys
from pathlib import Path

import pytest
from django.db import DatabaseError, connection, transaction

from audit import services
from audit.models import AuditEntry
from audit.selectors import EXPORT_COLUMNS, chain_breaks, export_rows
from common.csv_cells import csv_lines

VERIFIER = Path(__file__).parents[1] / "verifier.py"
NASTY = ["=cmd|' /C calc'!A0", "'quoted", "-1+1", "line\nbreak\r\n", 'say "hi", ok', "ﬁ ü 💡"]


def record(organization, action="device.update", **fields):
    services.record(actor=None, organization=organization, action=action, **fields)


def as_superuser(statement):
    """Do what only somebody with the keys to the database can."""
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute("ALTER TABLE audit_auditentry DISABLE TRIGGER USER")
        cursor.execute(statement)
        cursor.execute("ALTER TABLE audit_auditentry ENABLE TRIGGER USER")


def test_each_organisation_has_a_chain_of_its_own(organization, other_organization):
    record(organization)
    record(other_organization)
    record(organization)

    numbers = AuditEntry.objects.filter(organization_id=organization.pk).order_by("seq")
    assert list(numbers.values_list("seq", flat=True)) == [1, 2]
    assert numbers[1].previous_hash == numbers[0].hash


def test_the_database_sets_number_time_and_hash_whatever_the_caller_sends(organization):
    entry = AuditEntry.objects.create(
        organization_id=organization.pk, actor_type="system", action="x", seq=99, hash="forged"
    )

    entry.refresh_from_db()
    assert (entry.seq, len(entry.hash)) == (1, 64)
    assert entry.at is not None


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_auditentry SET actor = 'nobody'",
        "DELETE FROM audit_auditentry",
        "TRUNCATE audit_auditentry",
    ],
)
def test_the_log_cannot_be_changed(organization, statement):
    record(organization)

    with (
        pytest.raises(DatabaseError, match="append-only"),
        transaction.atomic(),
        connection.cursor() as c,
    ):
        c.execute(statement)

    assert AuditEntry.objects.count() == 1


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("UPDATE audit_auditentry SET action = 'other' WHERE seq = 2", "edited"),
        ("DELETE FROM audit_auditentry WHERE seq = 2", "missing"),
        ("DELETE FROM audit_auditentry WHERE seq = 3", "last entries"),
        ("UPDATE audit_auditentry SET hash = repeat('a', 64) WHERE seq = 1", "edited"),
    ],
)
def test_tampering_is_found(organization, statement, reason):
    for _ in range(3):
        record(organization)
    assert chain_breaks() == []

    as_superuser(statement)

    assert any(reason in place.reason for place in chain_breaks())


def export_file(tmp_path, entries):
    path = tmp_path / "audit.csv"
    path.write_text("".join(csv_lines(EXPORT_COLUMNS, export_rows(entries))), newline="")
    return path


def verifier(path):
    return subprocess.run(
        [sys.executable, "-I", VERIFIER, path], capture_output=True, text=True, check=False
    )


def test_an_export_is_verified_without_the_portal(organization, other_organization, tmp_path):
    for text in NASTY:
        record(organization, after={"value": text})
        AuditEntry.objects.create(organization_id=other_organization.pk, action="x", actor=text)

    verdict = verifier(export_file(tmp_path, AuditEntry.objects.all()))

    assert (verdict.returncode, verdict.stderr) == (0, "")
    assert verdict.stdout == "12 entries, 0 gaps, 0 faults: intact\n"


def test_an_edited_export_is_found_out(organization, tmp_path):
    record(organization, after={"role": "viewer"})
    path = export_file(tmp_path, AuditEntry.objects.all())
    path.write_text(path.read_text().replace("viewer", "admins"))

    verdict = verifier(path)

    assert verdict.returncode == 1
    assert "was edited" in verdict.stdout


def test_a_filtered_export_still_proves_each_entry(organization, tmp_path):
    for number in range(5):
        record(organization, action=f"step.{number}")
    path = export_file(tmp_path, AuditEntry.objects.filter(action__in=["step.1", "step.4"]))

    verdict = verifier(path)

    assert (verdict.returncode, "2 gaps" in verdict.stdout) == (0, True)


def test_no_cell_of_an_export_is_a_formula(organization):
    for text in NASTY:
        AuditEntry.objects.create(organization_id=organization.pk, action=text[:60], actor=text)

    lines = "".join(csv_lines(EXPORT_COLUMNS, export_rows(AuditEntry.objects.all())))
    cells = [cell for row in csv.reader(io.StringIO(lines, newline="")) for cell in row]

    assert not [cell for cell in cells if cell[:1] in set("=+-@\t\r\n")]
    assert "'=cmd|' /C calc'!A0" in cells
