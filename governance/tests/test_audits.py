import csv
import io
import subprocess
import sys
from pathlib import Path

import pytest

import audit.verifier
from audit.models import AuditEntry
from devices.tests.factories import DeviceFactory

VERIFIER = Path(audit.verifier.__file__)


@pytest.fixture
def acts(admin_api, operator_api, organization):
    """An admin adds a person; an operator renames a device and queues a command."""
    DeviceFactory(organization=organization, device_id="studio-1")
    admin_api.post("/api/v1/users", {"email": "new@example.org", "role": "viewer"})
    operator_api.patch("/api/v1/devices/studio-1", {"name": '=HYPERLINK("http://x")'})
    operator_api.post("/api/v1/devices/studio-1/commands", {"type": "reboot", "payload": {}})


def actions(api, query=""):
    return [row["action"] for row in api.get(f"/api/v1/audits?{query}").data["results"]]


def export(api, query=""):
    answer = api.get(f"/api/v1/audits.csv?{query}")
    assert answer.status_code == 200
    return b"".join(answer.streaming_content).decode()


def test_the_log_is_listed_newest_first(operator_api, acts):
    assert actions(operator_api) == ["command.queue", "device.update", "member.add"]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("action=member.add", ["member.add"]),
        ("target_type=device", ["device.update"]),
        ("deviceId=studio-1", ["command.queue", "device.update"]),
        ("actor_type=api_key", []),
        ("since=2999-01-01T00:00:00Z", []),
        ("until=2999-01-01T00:00:00Z&search=member", ["member.add"]),
    ],
)
def test_the_log_is_filtered(operator_api, acts, query, expected):
    assert actions(operator_api, query) == expected


def test_an_entry_says_who_did_what_to_what_and_in_which_request(operator_api, operator, acts):
    entry = operator_api.get("/api/v1/audits?action=device.update").data["results"][0]

    assert (entry["actor_type"], entry["actor"]) == ("user", operator.label)
    assert (entry["target_type"], entry["target"]) == ("device", "studio-1")
    assert entry["after"] == {"name": '=HYPERLINK("http://x")'}
    assert len(entry["request_id"]) == 36


def test_viewers_do_not_read_the_log(viewer_api, acts):
    assert viewer_api.get("/api/v1/audits").status_code == 403
    assert viewer_api.get("/api/v1/audits.csv").status_code == 403


def test_strangers_find_their_own_log_only(stranger_api, acts):
    assert actions(stranger_api) == []
    assert "studio-1" not in export(stranger_api)


def test_an_export_has_the_columns_clients_rely_on_and_honours_the_filters(operator_api, acts):
    rows = list(csv.DictReader(io.StringIO(export(operator_api, "action=device.update"))))

    wanted = (
        "at organization actor_type actor action target_type target before after request_id hash"
        " previous_hash"
    )
    assert set(wanted.split()) <= set(rows[0])
    assert [row["action"] for row in rows] == ["device.update"]


def test_an_export_is_verified_by_the_program_that_needs_no_portal(operator_api, acts, tmp_path):
    path = tmp_path / "audit.csv"
    path.write_text(export(operator_api), newline="")

    verdict = subprocess.run(
        [sys.executable, "-I", VERIFIER, path], capture_output=True, text=True, check=False
    )

    assert verdict.stdout == "4 entries, 0 gaps, 0 faults: intact\n"


def test_taking_a_copy_is_itself_in_the_log(operator_api, operator, acts):
    export(operator_api, "actor=ann")

    entry = AuditEntry.objects.get(action="audit.export")
    assert (entry.actor, entry.after) == (operator.label, {"filters": {"actor": "ann"}})
