import csv
import io

import pytest

from accounts.models import Organization
from accounts.policy import Role
from accounts.principals import Principal
from accounts.tests.factories import member
from audit import services as audit
from audit.models import AuditEntry
from audit.verifier import verify
from common.ids import uuid7
from console.tests.browsers import browser_of, text_of
from governance.admin import changes

LIST = "/admin/audit/auditentry/"


def note(actor: Principal, action: str, **more: object) -> AuditEntry:
    audit.record(actor=actor, organization=actor.organization, action=action, **more)
    return AuditEntry.objects.filter(organization_id=actor.organization_id).latest("seq")


def body_of(answer) -> str:
    return b"".join(answer.streaming_content).decode()


def test_the_explorer_holds_the_entries_of_the_organisation_only(
    operator: Principal, stranger: Principal
):
    note(operator, "thing.mine")
    note(stranger, "thing.theirs")

    page = text_of(browser_of(operator).get(LIST))

    assert "thing.mine" in page
    assert "thing.theirs" not in page


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("action=device", {"device.retire"}),
        ("actor=system", {"sweep.done"}),
        ("actor_type=user", {"device.retire"}),
        ("target_type=organization", {"device.retire"}),
        ("target=Acme", {"device.retire"}),
        ("target_id=none", set()),
        ("request_id=none", set()),
        ("q=sweep", {"sweep.done"}),
        ("at_from_0=2200-01-01&at_from_1=00:00:00", set()),
        ("at_to_0=2200-01-01&at_to_1=00:00:00", {"device.retire", "sweep.done"}),
    ],
)
def test_filters_narrow_the_log(
    operator: Principal, organization: Organization, query: str, found: set[str]
):
    note(operator, "device.retire", target=organization)
    audit.record(actor=None, organization=organization, action="sweep.done")

    rows = browser_of(operator).get(f"{LIST}?{query}").context["cl"].result_list

    assert {row.action for row in rows} == found


def test_an_entry_shows_what_changed_its_place_and_its_neighbours(operator: Principal):
    earlier = note(operator, "first.act")
    entry = note(operator, "second.act", before={"a": 1, "gone": True}, after={"a": 2, "new": "x"})
    later = note(operator, "third.act")

    page = text_of(browser_of(operator).get(f"{LIST}{entry.pk}/change/"))

    for row in (earlier, later):
        assert f"{LIST}{row.pk}/change/" in page
    assert entry.hash in page
    assert entry.previous_hash in page
    for part in ("- 1", "+ 2", "- true", "+ x"):
        assert part in page


def test_a_change_names_what_was_added_removed_and_changed():
    entry = AuditEntry(before={"a": 1, "b": 2}, after={"b": 3, "c": ""})

    assert [(row["name"], row["how"], row["before"], row["after"]) for row in changes(entry)] == [
        ("a", "removed", "1", None),
        ("b", "changed", "2", "3"),
        ("c", "added", None, "(empty)"),
    ]


def test_values_of_an_entry_are_shown_as_text(operator: Principal):
    entry = note(operator, "x.y", after={"name": "<img src=x onerror=alert(1)>"})
    browser = browser_of(operator)

    for path in (LIST, f"{LIST}{entry.pk}/change/"):
        assert "<img src=x" not in browser.get(path).content.decode()


def test_the_export_streams_the_filtered_chain_and_is_audited_once(
    operator: Principal, stranger: Principal
):
    note(operator, "thing.one", after={"formula": "=1+1"})
    note(operator, "other.two")
    note(stranger, "thing.theirs")

    answer = browser_of(operator).get(f"{LIST}export.csv?action=thing")
    rows = list(csv.DictReader(io.StringIO(body_of(answer))))

    entry = AuditEntry.objects.get(action="audit.export")
    assert answer["Content-Type"] == "text/csv; charset=utf-8"
    assert [row["action"] for row in rows] == ["thing.one"]
    assert entry.after == {"filters": {"action": "thing"}}


def test_the_whole_export_verifies_without_the_portal(operator: Principal):
    for number in range(5):
        note(operator, "thing.act", after={"number": number})

    answer = browser_of(operator).get(f"{LIST}export.csv")
    entries, gaps, wrong = verify(csv.DictReader(io.StringIO(body_of(answer))))

    assert (entries, gaps, wrong) == (6, 0, [])


def test_nothing_of_the_log_is_edited_or_deleted_in_the_browser(admin: Principal):
    entry = note(admin, "thing.act")
    browser = browser_of(admin)

    assert browser.get(f"{LIST}add/").status_code == 403
    assert browser.post(f"{LIST}{entry.pk}/delete/", {"post": "yes"}).status_code == 403
    browser.post(f"{LIST}{entry.pk}/change/", {"actor": "somebody else"})
    assert AuditEntry.objects.get(pk=entry.pk).actor == admin.label


def test_viewers_and_people_limited_to_groups_do_not_read_the_log(organization: Organization):
    viewer = member(organization, Role.VIEWER)
    limited = member(organization, Role.OPERATOR, limited_to_groups=True)

    for person in (viewer, limited):
        browser = browser_of(person)
        for path in (LIST, f"{LIST}export.csv", f"{LIST}{uuid7()}/change/"):
            assert browser.get(path).status_code == 403


def test_a_foreign_entry_and_an_absent_one_are_the_same(operator: Principal, stranger: Principal):
    foreign = note(stranger, "thing.theirs")
    browser = browser_of(operator)

    seen = [browser.get(f"{LIST}{pk}/change/") for pk in (foreign.pk, uuid7())]

    assert [answer.status_code for answer in seen] == [302, 302]
    assert seen[0].url == seen[1].url
