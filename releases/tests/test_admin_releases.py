"""Releases in the browser: from a bundle to a published release, and what a viewer cannot do."""

from pathlib import Path
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile

from accounts.models import Organization
from accounts.principals import Principal
from audit.models import AuditEntry
from console.tests.browsers import browser_of, text_of
from devices.tests.factories import DeviceFactory
from releases.models import Release
from releases.tests.bundles import bundle
from releases.tests.factories import COMMIT, ReleaseFactory, published

pytestmark = pytest.mark.django_db

LIST = "/admin/releases/release/"


@pytest.fixture(autouse=True)
def _media(settings: Any, tmp_path: Path) -> None:
    settings.MEDIA_ROOT = tmp_path


def page_of(release: Release) -> str:
    return f"{LIST}{release.pk}/change/"


def act(principal: Principal, release: Release, verb: str, **entered: str) -> str:
    browser = browser_of(principal)
    return text_of(browser.post(f"{LIST}{release.pk}/do/{verb}/", entered, follow=True))


def upload(principal: Principal, release: Release, content: bytes) -> str:
    file = SimpleUploadedFile("bundle.tar.gz", content, "application/gzip")
    browser = browser_of(principal)
    answer = browser.post(f"{LIST}{release.pk}/upload/", {"role": "", "file": file}, follow=True)
    return text_of(answer)


def test_a_release_is_made_filled_checked_and_published_in_the_browser(admin: Principal):
    browser = browser_of(admin)
    entered = {"version": "2.0.0", "commit": COMMIT, "channel": "stable", "roles": "kiosk",
               "feature_flags": '{"new_player": true}'}  # fmt: skip
    made = browser.post(f"{LIST}add/", entered)
    release = Release.objects.get(version="2.0.0")

    assert made.url == page_of(release)
    assert "no bundle yet" in text_of(browser.get(page_of(release)))
    assert "The bundle is stored" in upload(admin, release, bundle())
    assert "Validated." in act(admin, release, "validate")
    assert "Published." in act(admin, release, "publish")
    release.refresh_from_db()
    assert (release.state, release.roles, release.counter) == ("published", ["kiosk"], 1)
    assert AuditEntry.objects.filter(action="release.publish").count() == 1


def test_findings_stand_on_the_page_and_keep_it_from_being_published(admin: Principal):
    release = ReleaseFactory(organization=admin.organization)
    upload(admin, release, bundle({"compose.yml": "services: {app: {image: app:latest}}\n"}))

    told = act(admin, release, "validate")

    assert "Validation found errors" in told
    assert "latest" in told
    assert "is not validated" in act(admin, release, "publish") or "errors" in told
    release.refresh_from_db()
    assert release.state == "draft"


def test_a_published_release_is_withdrawn_with_a_reason_and_never_edited(admin: Principal):
    release = published(ReleaseFactory(organization=admin.organization))

    assert "Say why" in act(admin, release, "withdraw")
    assert "Withdrawn." in act(admin, release, "withdraw", reason="it eats batteries")
    assert "it eats batteries" in text_of(browser_of(admin).get(page_of(release)))
    edited = browser_of(admin).post(f"{LIST}{release.pk}/edit/", {"channel": "beta"})
    assert edited.status_code in (302, 403)
    release.refresh_from_db()
    assert (release.state, release.channel) == ("withdrawn", "stable")


def test_an_operator_looks_and_touches_nothing(operator: Principal):
    release = ReleaseFactory(organization=operator.organization)
    browser = browser_of(operator)

    assert "Publish" not in text_of(browser.get(page_of(release)))
    assert browser.post(f"{LIST}{release.pk}/do/validate/").status_code == 403
    assert browser.post(f"{LIST}{release.pk}/upload/").status_code == 403


def test_a_foreign_release_is_as_good_as_absent(admin: Principal, stranger: Principal):
    release = ReleaseFactory(organization=admin.organization)
    browser = browser_of(stranger)

    assert browser.get(page_of(release)).status_code == 302
    assert browser.post(f"{LIST}{release.pk}/do/validate/").status_code == 302


def test_the_versions_page_says_what_runs_where(organization: Organization, viewer: Principal):
    release = published(ReleaseFactory(organization=organization, version="3.1.4"))
    for segment in ("canary", "general", "general"):
        DeviceFactory(organization=organization, segment=segment, state__version=release.version)
    DeviceFactory(organization=organization, state__version="homemade", state__health="failed")

    page = text_of(browser_of(viewer).get("/console/versions?by=segment"))

    assert page.index("3.1.4") < page.index("homemade")
    assert f"/admin/releases/release/{release.pk}/change/" in page


def test_the_versions_page_costs_the_same_however_many_devices(
    organization: Organization, viewer: Principal, django_assert_max_num_queries: Any
):
    DeviceFactory.create_batch(12, organization=organization, state__version="1")
    browser = browser_of(viewer)

    with django_assert_max_num_queries(14):
        browser.get("/console/versions?by=role")
