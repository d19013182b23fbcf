"""What is signed when, by whom, and how far it reaches."""

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from django.test import override_settings
from tuf.api.exceptions import DownloadHTTPError
from tuf.api.metadata import Metadata
from tuf.ngclient import Updater
from tuf.ngclient.fetcher import FetcherInterface

from audit.models import AuditEntry
from common import clock
from releases import tasks
from releases.errors import KeyRefused, SignatureRefused, TrustConflict
from releases.models import TrustDraft, TrustMetadata, TrustTarget
from releases.services.manifests import manifests_withdraw, reach_of, reaches_of
from releases.services.trust_ceremony import trust_init, trust_renew, trust_revoke, trust_rotate
from releases.services.trust_drafts import signatures_add
from releases.services.trust_export import trust_export
from releases.services.trust_refresh import trust_refresh
from releases.services.trust_status import trust_status
from releases.tests.trust import begun, held, keys, offline, public, release_of, sign, signature
from releases.trust.roles import Keys

pytestmark = pytest.mark.django_db
BOTH = {"staged", "general"}


class TreeFetcher(FetcherInterface):
    """Reads an exported tree as a client reads a CDN."""

    def _fetch(self, url: str) -> Iterator[bytes]:
        path = Path(url)
        if not path.exists():
            raise DownloadHTTPError(f"no {url}", 404)
        yield path.read_bytes()


def client_of(tree: Path, cache: Path, root: bytes) -> Updater:
    return Updater(
        metadata_dir=str(cache),
        metadata_base_url=f"{tree}/metadata/",
        target_dir=str(cache),
        target_base_url=f"{tree}/targets/",
        fetcher=TreeFetcher(),
        bootstrap=root,
    )


def exported(organization, tmp_path, name="tree") -> Path:
    tree = tmp_path / name
    trust_export(organization=organization, to=tree)
    return tree


def seen(organization, tmp_path, path, root=None) -> dict | None:
    """Return the manifest a fresh TUF client gets; None when nobody vouches for it."""
    tree = exported(organization, tmp_path)
    client = client_of(
        tree, tmp_path / "cache", root or (tree / "metadata/1.root.json").read_bytes()
    )
    info = client.get_targetinfo(path)
    if info is None:
        return None
    return json.loads(Path(client.download_target(info)).read_bytes())


def content(organization, role) -> Metadata:
    rows = TrustMetadata.objects.filter(organization=organization, role=role)
    return Metadata.from_bytes(bytes(rows.order_by("-version")[0].content))


def test_a_first_publish_makes_a_repository_a_tuf_client_follows(organization, tmp_path):
    release = release_of(organization, "1.0.0", counter=7)

    for trust in BOTH:
        manifest = seen(organization, tmp_path, f"{trust}/any/1.0.0/manifest.json")
        assert manifest is not None
        assert manifest["counter"] == 7
        assert manifest["organization"] == "acme"
        assert (manifest["version"], manifest["commit"]) == ("1.0.0", release.commit)
        assert manifest["bundle"] == {"size": 10, "sha256": release.artifacts.get().sha256}
    assert reach_of(release) == BOTH
    status = trust_status(organization=organization, now=clock.now())
    assert status.mode == "online"
    assert "key ceremony" in status.warnings[0]


@override_settings(TRUST_OFFLINE_ROOT=True)
def test_where_an_offline_root_is_wanted_nothing_is_published_without_a_ceremony(organization):
    with pytest.raises(TrustConflict, match=r"manage\.py keys init acme"):
        release_of(organization, "1.0.0")

    assert not TrustMetadata.objects.exists()


def test_after_a_ceremony_general_waits_for_its_keys_and_staged_does_not(organization, tmp_path):
    held(organization)

    release = release_of(organization, "1.0.0")

    assert reach_of(release) == {"staged"}
    assert seen(organization, tmp_path, "staged/any/1.0.0/manifest.json")
    assert seen(organization, tmp_path, "general/any/1.0.0/manifest.json") is None
    told = sign(organization, "general", "dan")
    assert (told.missing, told.published) == (1, ())
    assert reach_of(release) == {"staged"}
    told = sign(organization, "general", "eve")
    assert (told.missing, told.published) == (0, ("general",))
    assert reach_of(release) == BOTH
    assert seen(organization, tmp_path, "general/any/1.0.0/manifest.json")
    assert not TrustDraft.objects.exists()


def test_devices_of_the_portals_key_alone_follow_into_the_ceremony(organization, tmp_path):
    release = release_of(organization, "1.0.0")
    tree = exported(organization, tmp_path)
    pinned = (tree / "metadata/1.root.json").read_bytes()

    held(organization)

    assert seen(organization, tmp_path, "general/any/1.0.0/manifest.json", root=pinned)
    assert content(organization, "root").signed.version == 2
    assert trust_status(organization=organization, now=clock.now()).mode == "offline"
    assert reach_of(release) == BOTH


def test_until_all_of_a_ceremony_is_signed_devices_go_on_with_what_there_is(organization, tmp_path):
    release_of(organization, "1.0.0")
    begun(organization)

    assert sign(organization, "root", "ada", "bob").published == ()
    assert sign(organization, "targets", "ada", "bob").published == ()
    assert seen(organization, tmp_path, "general/any/1.0.0/manifest.json")
    assert set(sign(organization, "general", "eve", "fay").published) == {
        "root", "targets", "general",
    }  # fmt: skip
    assert seen(organization, tmp_path, "general/any/1.0.0/manifest.json")


def test_a_release_published_while_a_first_ceremony_waits_is_refused_with_the_way_out(
    organization,
):
    begun(organization)

    with pytest.raises(TrustConflict, match=r"manage\.py keys status acme"):
        release_of(organization, "1.0.0")


def test_one_signature_of_general_twice_counts_once(organization):
    held(organization)
    release = release_of(organization, "1.0.0")

    sign(organization, "general", "dan")
    told = sign(organization, "general", "dan")

    assert (told.signatures, told.missing) == (1, 1)
    assert reach_of(release) == {"staged"}


@pytest.mark.parametrize("stranger", ["ada", "nobody"])
def test_a_key_that_may_not_sign_general_is_refused(organization, stranger):
    held(organization)
    release_of(organization, "1.0.0")

    with pytest.raises(SignatureRefused, match="may not sign general"):
        sign(organization, "general", stranger)


def test_a_signature_over_another_text_is_refused(organization):
    held(organization)
    release_of(organization, "1.0.0")
    old = signature(organization, "general", "dan")
    release_of(organization, "1.1.0", counter=2)

    with pytest.raises(SignatureRefused, match="Download"):
        signatures_add(
            organization=organization,
            role="general",
            signatures=[old],
            actor=None,
            now=clock.now(),
        )


def test_two_releases_that_wait_are_signed_at_once(organization, tmp_path):
    held(organization)
    first = release_of(organization, "1.0.0")
    sign(organization, "general", "dan")
    second = release_of(organization, "1.1.0", counter=2)

    told = sign(organization, "general", "dan", "fay")

    assert told.published == ("general",)
    assert reaches_of([first, second]) == {first.pk: BOTH, second.pk: BOTH}
    assert content(organization, "general").signed.version == 2


def test_a_withdrawn_release_is_out_of_staged_at_once_and_of_general_when_signed(
    organization, tmp_path
):
    held(organization)
    release = release_of(organization, "1.0.0")
    sign(organization, "general", "dan", "eve")

    manifests_withdraw(release=release, actor=None, now=clock.now())

    assert reach_of(release) == frozenset()
    assert seen(organization, tmp_path, "staged/any/1.0.0/manifest.json") is None
    sign(organization, "general", "dan", "eve")
    assert seen(organization, tmp_path, "general/any/1.0.0/manifest.json") is None


def test_a_portal_without_its_key_can_still_withdraw(organization):
    release = release_of(organization, "1.0.0")

    with override_settings(SIGNING_KEY=""):
        manifests_withdraw(release=release, actor=None, now=clock.now())

    assert reach_of(release) == frozenset()


def test_new_custodians_are_believed_by_devices_that_pinned_the_old_root(organization, tmp_path):
    held(organization)
    release_of(organization, "1.0.0")
    pinned = (exported(organization, tmp_path) / "metadata/1.root.json").read_bytes()

    trust_rotate(
        organization=organization,
        root=keys("gus", "hal", "ida", threshold=2),
        actor=None,
        now=clock.now(),
    )
    assert sign(organization, "targets", "gus", "hal").published == ()
    assert sign(organization, "root", "gus", "hal").missing == 2
    told = sign(organization, "root", "ada", "bob")

    assert set(told.published) == {"root", "targets"}
    assert seen(organization, tmp_path, "staged/any/1.0.0/manifest.json", root=pinned)
    trust_renew(organization=organization, role="root", actor=None, now=clock.now())
    with pytest.raises(SignatureRefused):
        sign(organization, "root", "ada")


def test_new_keys_of_general_sign_what_the_old_ones_had_signed(organization, tmp_path):
    held(organization)
    release_of(organization, "1.0.0")
    sign(organization, "general", "dan", "eve")

    trust_rotate(
        organization=organization,
        general=keys("joy", "kim", threshold=2),
        actor=None,
        now=clock.now(),
    )
    assert sign(organization, "targets", "bob", "cyd").published == ()
    assert set(sign(organization, "general", "joy", "kim").published) == {"targets", "general"}

    assert seen(organization, tmp_path, "general/any/1.0.0/manifest.json")


def test_a_lost_key_is_replaced_by_its_successor(organization):
    held(organization)

    roles = trust_revoke(
        organization=organization,
        key_id=public("fay").keyid[:12],
        successor=public("leo"),
        actor=None,
        now=clock.now(),
    )
    assert set(roles) == {"targets", "general"}
    sign(organization, "targets", "ada", "cyd")
    sign(organization, "general", "dan", "leo")

    release_of(organization, "1.0.0")
    with pytest.raises(SignatureRefused):
        sign(organization, "general", "fay")


def test_a_lost_key_without_successor_needs_enough_others(organization):
    held(organization)
    trust_revoke(
        organization=organization,
        key_id=public("fay").keyid,
        successor=None,
        actor=None,
        now=clock.now(),
    )
    sign(organization, "targets", "ada", "cyd")
    sign(organization, "general", "dan", "eve")

    with pytest.raises(KeyRefused, match="--successor"):
        trust_revoke(
            organization=organization,
            key_id=public("eve").keyid,
            successor=None,
            actor=None,
            now=clock.now(),
        )


def test_a_changed_signing_key_signs_nothing_until_the_root_names_it(organization, tmp_path):
    held(organization)
    release_of(organization, "1.0.0")
    pinned = (exported(organization, tmp_path) / "metadata/1.root.json").read_bytes()
    with override_settings(SIGNING_KEY="6b" * 32):
        with pytest.raises(TrustConflict, match="keys rotate acme --online"):
            release_of(organization, "1.1.0", counter=2)
        assert trust_refresh(now=clock.now() + timedelta(hours=13)) == 1
        status = trust_status(organization=organization, now=clock.now())
        assert any("SIGNING_KEY was changed" in warning for warning in status.warnings)

        trust_rotate(organization=organization, is_online=True, actor=None, now=clock.now())
        sign(organization, "root", "ada", "bob")
        sign(organization, "targets", "ada", "bob")
        release_of(organization, "1.2.0", counter=3)

        assert seen(organization, tmp_path, "staged/any/1.2.0/manifest.json", root=pinned)


def test_the_portals_key_alone_is_not_changed_before_the_ceremony(organization):
    release_of(organization, "1.0.0")

    with override_settings(SIGNING_KEY="6b" * 32):
        with pytest.raises(TrustConflict, match="Set that again"):
            release_of(organization, "1.1.0", counter=2)
        with pytest.raises(TrustConflict, match="Set that again"):
            begun(organization)
        assert trust_status(organization=organization, now=clock.now()).mode == "online"


def test_a_ceremony_is_not_held_twice_and_not_with_the_portals_key(organization):
    held(organization)
    with pytest.raises(TrustConflict, match="keys rotate"):
        begun(organization)

    with pytest.raises(KeyRefused, match="cannot be met"):
        Keys((public("ada"),), 2)
    with pytest.raises(KeyRefused, match="twice"):
        Keys((public("ada"), public("ada")), 1)


def test_the_portals_own_key_is_no_offline_key(organization):
    release_of(organization, "1.0.0")
    online = trust_status(organization=organization, now=clock.now()).roles[0].keys[0].id
    portals = next(iter(content(organization, "root").signed.keys.values()))
    assert portals.keyid == online

    with pytest.raises(KeyRefused, match="portal's own key"):
        trust_init(
            organization=organization,
            root=Keys((portals,), 1),
            general=keys("dan", threshold=1),
            actor=None,
            now=clock.now(),
        )


def test_the_sweep_signs_again_before_anything_of_the_portal_expires(organization, tmp_path):
    held(organization)
    release_of(organization, "1.0.0")
    before = content(organization, "timestamp").signed

    assert trust_refresh(now=clock.now()) == 0
    later = clock.now() + timedelta(hours=13)
    assert trust_refresh(now=later) == 1
    assert trust_refresh(now=later) == 0

    after = content(organization, "timestamp").signed
    assert after.version == before.version + 1
    assert after.expires > before.expires
    assert content(organization, "snapshot").signed.version == before.snapshot_meta.version


def test_the_task_leaves_alone_what_is_young(organization):
    release_of(organization, "1.0.0")
    before = set(TrustMetadata.objects.values_list("role", "version"))

    tasks.trust_refresh()

    assert set(TrustMetadata.objects.values_list("role", "version")) == before


def test_the_reach_of_many_releases_takes_one_question(organization, django_assert_num_queries):
    releases = [release_of(organization, f"1.0.{n}", counter=n) for n in range(1, 4)]

    with django_assert_num_queries(1):
        assert set(reaches_of(releases).values()) == {frozenset(BOTH)}
    assert reaches_of([]) == {}


def test_the_sweep_tells_when_keepers_of_keys_have_to_sign(organization):
    held(organization)
    later = clock.now() + timedelta(days=160)

    trust_refresh(now=later)

    status = trust_status(organization=organization, now=later)
    assert any("keys renew acme general" in warning for warning in status.warnings)
    assert next(one for one in status.roles if one.role == "general").nears_expiry
    trust_renew(organization=organization, role="general", actor=None, now=later)
    sign(organization, "general", "dan", "eve")
    trust_refresh(now=later)
    assert trust_status(organization=organization, now=later).warnings == []


def test_a_repository_that_the_sweep_left_alone_says_so(organization):
    held(organization)
    later = clock.now() + timedelta(hours=25)

    [warning] = trust_status(organization=organization, now=later).warnings

    assert warning.startswith("timestamp expired on ")
    assert "beat" in warning
    assert trust_refresh(now=later) == 1
    assert trust_status(organization=organization, now=later).warnings == []


def test_a_role_that_can_lose_no_key_says_so(organization):
    held(organization)

    trust_revoke(
        organization=organization,
        key_id=public("cyd").keyid,
        successor=None,
        actor=None,
        now=clock.now(),
    )
    sign(organization, "root", "ada", "bob")
    sign(organization, "targets", "ada", "bob")

    assert trust_status(organization=organization, now=clock.now()).warnings == [
        "root: all 2 keys have to sign. With one of them lost, nobody can. Name more:"
        " manage.py keys rotate acme --root."
    ]


def test_what_expired_long_ago_is_dropped_but_never_a_root(organization):
    release_of(organization, "1.0.0")
    held(organization)
    later = clock.now() + timedelta(days=100)

    trust_refresh(now=later)

    kept = set(TrustMetadata.objects.values_list("role", "version"))
    assert {("root", 1), ("root", 2), ("targets", 2)} <= kept
    assert ("timestamp", 1) not in kept


def test_expired_metadata_of_general_reaches_nobody(organization):
    held(organization)
    release = release_of(organization, "1.0.0")
    sign(organization, "general", "dan", "eve")
    rows = TrustMetadata.objects.filter(role="general").order_by("-version")
    newest = rows[0]
    newest.delete()
    TrustMetadata.objects.create(
        organization=organization,
        role="general",
        version=newest.version,
        content=newest.content,
        expires_at=clock.now() - timedelta(seconds=1),
        created_at=newest.created_at,
    )

    assert reach_of(release) == {"staged"}


def test_every_act_on_keys_is_in_the_audit_log(organization):
    held(organization)
    release = release_of(organization, "1.0.0")
    manifests_withdraw(release=release, actor=None, now=clock.now())

    actions = set(AuditEntry.objects.values_list("action", flat=True))

    assert {
        "trust.init", "trust.draft", "trust.sign", "trust.publish", "trust.list", "trust.unlist",
    } <= actions  # fmt: skip


def test_the_key_of_one_organization_signs_nothing_of_another(organization, other_organization):
    release_of(organization, "1.0.0")
    release_of(other_organization, "1.0.0")

    assert not set(content(organization, "root").signed.keys) & set(
        content(other_organization, "root").signed.keys
    )
    assert offline("ada").public_key.keyid not in content(organization, "root").signed.keys
    assert TrustTarget.objects.filter(organization=organization).count() == 2
