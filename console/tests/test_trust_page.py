"""Signing keys in the browser: who signs what, handing signatures in, and who may not."""

import json
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile

from accounts.models import Organization
from accounts.principals import Principal
from console.tests.browsers import browser_of, text_of
from releases.models import TrustDraft
from releases.services.trust_drafts import drafts_of
from releases.tests.trust import begun, release_of, sign, signature

pytestmark = pytest.mark.django_db

PAGE = "/console/trust"


def draft_of(organization: Organization, role: str) -> TrustDraft:
    return drafts_of(organization)[role]


def signed(organization: Organization, role: str, *names: str) -> bytes:
    """Return what waits for the role as these keepers would send it back."""
    content: dict[str, Any] = json.loads(bytes(draft_of(organization, role).content))
    content["signatures"] = [signature(organization, role, name) for name in names]
    return json.dumps(content).encode()


def hand_in(principal: Principal, draft: TrustDraft, content: bytes) -> str:
    file = SimpleUploadedFile(f"{draft.role}.json", content, "application/json")
    address = f"{PAGE}/drafts/{draft.pk}/sign"
    return text_of(browser_of(principal).post(address, {"file": file}, follow=True))


def test_before_the_first_release_the_page_says_what_to_do(admin: Principal):
    page = text_of(browser_of(admin).get(PAGE))

    assert "Nothing is signed yet" in page
    assert f"manage.py keys init {admin.acting_organization().slug}" in page


def test_a_portal_that_signs_alone_is_warned_about(viewer: Principal, organization: Organization):
    release_of(organization, "1.0.0")

    page = text_of(browser_of(viewer).get(PAGE))

    assert "online only" in page
    assert "whoever steals it can install what they like" in page
    assert "docs/keys.md" in page
    assert "1 of 1" in page


def test_who_may_only_look_sees_what_is_missing_and_gets_no_file(
    operator: Principal, organization: Organization
):
    begun(organization)
    draft = draft_of(organization, "root")
    browser = browser_of(operator)

    page = text_of(browser.get(PAGE))

    assert "Root waits for signatures" in page
    assert "Download" not in page
    assert browser.get(f"{PAGE}/drafts/{draft.pk}").status_code == 403
    assert browser.post(f"{PAGE}/drafts/{draft.pk}/sign").status_code == 403


def test_what_has_to_be_signed_is_downloaded_byte_for_byte(
    admin: Principal, organization: Organization
):
    begun(organization)
    draft = draft_of(organization, "root")

    answer = browser_of(admin).get(f"{PAGE}/drafts/{draft.pk}")

    assert answer.content == bytes(draft.content)
    assert answer["Content-Disposition"] == 'attachment; filename="root.json"'


def test_signatures_are_handed_in_one_by_one_until_everything_is_in_force(
    admin: Principal, organization: Organization
):
    begun(organization)
    sign(organization, "targets", "ada", "bob")
    sign(organization, "general", "dan", "eve")

    once = hand_in(admin, draft_of(organization, "root"), signed(organization, "root", "ada"))
    twice = hand_in(admin, draft_of(organization, "root"), signed(organization, "root", "bob"))

    assert "still missing" in once
    assert "In force now:" in twice
    assert "offline keys" in twice
    assert drafts_of(organization) == {}


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"\xff\x00 no metadata", "This is no signed metadata"),
        (b"[" * 5_000, "This is no signed metadata"),
        (b"", "empty"),
    ],
)
def test_a_file_that_is_none_is_refused_with_the_reason(
    admin: Principal, organization: Organization, content: bytes, told: str
):
    begun(organization)

    assert told in hand_in(admin, draft_of(organization, "root"), content)


def test_an_unsigned_file_and_a_key_that_may_not_sign_are_refused(
    admin: Principal, organization: Organization
):
    begun(organization)
    draft = draft_of(organization, "root")

    assert "Nobody has signed" in hand_in(admin, draft, signed(organization, "root"))
    assert "may not sign root" in hand_in(admin, draft, signed(organization, "root", "dan"))
    assert draft_of(organization, "root").content == draft.content


def test_a_foreign_draft_is_as_good_as_absent(stranger: Principal, organization: Organization):
    begun(organization)
    draft = draft_of(organization, "root")
    browser = browser_of(stranger)

    assert browser.get(f"{PAGE}/drafts/{draft.pk}").status_code == 404
    assert browser.post(f"{PAGE}/drafts/{draft.pk}/sign").status_code == 404
    assert "Root waits" not in text_of(browser.get(PAGE))
