from argparse import ArgumentParser
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from tuf.api.metadata import Key

from accounts.models import Organization
from common import clock
from common.errors import DomainError
from releases.services import trust_ceremony as ceremonies
from releases.services.trust_drafts import signatures_add
from releases.services.trust_export import trust_export
from releases.services.trust_status import TrustStatus, draft_of, trust_status
from releases.trust import ceremony
from releases.trust.roles import OFFLINE, Keys, parsed, role_of


class Command(BaseCommand):
    help = "Keys of an organisation's releases: ceremony, signing, rotation (docs/keys.md)."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the verbs; `create`, `show` and `sign` need no database."""
        verbs = parser.add_subparsers(required=True, metavar="verb", dest="verb")
        one = _verb(verbs, "create", "make a key pair", _create)
        one.add_argument("--holder", required=True, help="who keeps it")
        one.add_argument("--out", required=True, help="writes OUT.pem and OUT.pub.json")
        one.add_argument("--passphrase-file", help="else asked for")
        one = _verb(verbs, "show", "tell what a file says", _show)
        one.add_argument("file", type=Path)
        one = _verb(verbs, "sign", "add a signature to a file", _sign)
        one.add_argument("file", type=Path)
        one.add_argument("--key", required=True, type=Path, help="encrypted private key")
        one.add_argument("--passphrase-file", help="else asked for")
        _organization_verbs(verbs)

    def handle(self, *_args: Any, **options: Any) -> None:
        """Run one verb and print what came of it."""
        try:
            lines = list(options["run"](options))
        except (DomainError, OSError) as error:
            raise CommandError(str(error)) from None
        self.stdout.write("\n".join(lines))


Run = Callable[[dict[str, Any]], Iterable[str]]


def _verb(verbs: Any, name: str, text: str, run: Run) -> ArgumentParser:
    parser: ArgumentParser = verbs.add_parser(name, help=text)
    parser.set_defaults(run=run)
    return parser


def _organization_verbs(verbs: Any) -> None:
    for name, text, run in (
        ("init", "name the offline keys for the first time", _init),
        ("status", "tell who signs what, and what waits", _status),
        ("payload", "write what has to be signed into a file", _payload),
        ("import", "take in a signed file", _import),
        ("rotate", "name other keys", _rotate),
        ("revoke", "do without a lost or stolen key", _revoke),
        ("renew", "give a role a new expiry", _renew),
        ("export", "write the repository as files for a CDN", _export),
    ):
        parser = _verb(verbs, name, text, run)
        parser.add_argument("organization", help="its slug")
        if name in _ARGUMENTS:
            _ARGUMENTS[name](parser)


def _key_arguments(parser: ArgumentParser, *, is_needed: bool) -> None:
    for role in ("root", "general"):
        parser.add_argument(
            f"--{role}", nargs="+", type=Path, required=is_needed, metavar="PUB", help="public keys"
        )
        parser.add_argument(f"--{role}-threshold", type=int, help="how many of them have to sign")


def _init_arguments(parser: ArgumentParser) -> None:
    _key_arguments(parser, is_needed=True)


def _file_argument(parser: ArgumentParser) -> None:
    parser.add_argument("file", type=Path)


def _role_argument(parser: ArgumentParser) -> None:
    parser.add_argument("role", choices=OFFLINE)


def _export_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--to", type=Path, required=True, help="a folder")


def _rotate_arguments(parser: ArgumentParser) -> None:
    _key_arguments(parser, is_needed=False)
    parser.add_argument("--online", action="store_true", help="name the key of SIGNING_KEY")


def _payload_arguments(parser: ArgumentParser) -> None:
    _role_argument(parser)
    parser.add_argument("--out", type=Path, help="else <role>.json")


def _revoke_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("key", help="the beginning of its id")
    parser.add_argument("--successor", type=Path, metavar="PUB", help="public key in its place")


_ARGUMENTS: dict[str, Callable[[ArgumentParser], None]] = {
    "init": _init_arguments,
    "payload": _payload_arguments,
    "import": _file_argument,
    "rotate": _rotate_arguments,
    "revoke": _revoke_arguments,
    "renew": _role_argument,
    "export": _export_arguments,
}


def _create(options: dict[str, Any]) -> Iterable[str]:
    passphrase = ceremony.passphrase_of(options["passphrase_file"], is_new=True)
    private, public = ceremony.key_files_write(
        out=options["out"], holder=options["holder"], passphrase=passphrase
    )
    return [f"{private}: keep it, and its passphrase, offline.", f"{public}: hand it in."]


def _show(options: dict[str, Any]) -> Iterable[str]:
    return ceremony.described(parsed(options["file"].read_bytes()))


def _sign(options: dict[str, Any]) -> Iterable[str]:
    metadata = ceremony.file_sign(
        path=options["file"],
        key=options["key"],
        passphrase=ceremony.passphrase_of(options["passphrase_file"]),
    )
    return [*ceremony.described(metadata), f"{options['file']}: signed. Hand it in."]


def _organization(options: dict[str, Any]) -> Organization:
    found = Organization.objects.filter(slug=options["organization"]).first()
    if found is None:
        raise CommandError(f"There is no organisation {options['organization']}.")
    return found


def _keys(options: dict[str, Any], role: str) -> Keys | None:
    paths: list[Path] | None = options[role]
    if not paths:
        return None
    keys: tuple[Key, ...] = tuple(ceremony.public_key(path.read_bytes()) for path in paths)
    return Keys(keys, options[f"{role}_threshold"] or len(keys))


def _waits(organization: Organization, roles: Iterable[str]) -> list[str]:
    return [
        f"{role} waits for signatures: manage.py keys payload {organization.slug} {role}"
        for role in roles
    ] or ["Nothing waits for signatures: all of it is in force."]


def _init(options: dict[str, Any]) -> Iterable[str]:
    organization = _organization(options)
    root, general = _keys(options, "root"), _keys(options, "general")
    if root is None or general is None:
        raise CommandError("Name the keys of root and of general.")
    roles = ceremonies.trust_init(
        organization=organization, root=root, general=general, actor=None, now=clock.now()
    )
    return _waits(organization, roles)


def _rotate(options: dict[str, Any]) -> Iterable[str]:
    organization = _organization(options)
    roles = ceremonies.trust_rotate(
        organization=organization,
        root=_keys(options, "root"),
        general=_keys(options, "general"),
        is_online=options["online"],
        actor=None,
        now=clock.now(),
    )
    return _waits(organization, roles)


def _revoke(options: dict[str, Any]) -> Iterable[str]:
    organization = _organization(options)
    successor = options["successor"]
    roles = ceremonies.trust_revoke(
        organization=organization,
        key_id=options["key"],
        successor=ceremony.public_key(successor.read_bytes()) if successor else None,
        actor=None,
        now=clock.now(),
    )
    return _waits(organization, roles)


def _renew(options: dict[str, Any]) -> Iterable[str]:
    organization = _organization(options)
    roles = ceremonies.trust_renew(
        organization=organization, role=options["role"], actor=None, now=clock.now()
    )
    return _waits(organization, roles)


def _payload(options: dict[str, Any]) -> Iterable[str]:
    draft = draft_of(organization=_organization(options), role=options["role"])
    path: Path = options["out"] or Path(f"{draft.role}.json")
    path.write_bytes(bytes(draft.content))
    return [*ceremony.described(parsed(bytes(draft.content))), f"{path}: written. Sign it."]


def _import(options: dict[str, Any]) -> Iterable[str]:
    content = options["file"].read_bytes()
    told = signatures_add(
        organization=_organization(options),
        role=role_of(parsed(content)),
        signatures=ceremony.signatures_of(content),
        actor=None,
        now=clock.now(),
    )
    lines = [f"{told.role}: {told.signatures} signed, {told.missing} missing."]
    if told.published:
        lines.append(f"In force now: {', '.join(told.published)}.")
    return lines


def _status(options: dict[str, Any]) -> Iterable[str]:
    status = trust_status(organization=_organization(options), now=clock.now())
    return [f"mode: {status.mode}", *_role_lines(status), *_draft_lines(status), *status.warnings]


def _role_lines(status: TrustStatus) -> Iterable[str]:
    for one in status.roles:
        # A role of the portal has another key when SIGNING_KEY was changed.
        other = "offline" if one.role in OFFLINE else "not the portal's any more"
        holders = ", ".join(
            f"{key.id[:12]} ({'the portal' if key.is_portals else key.holder or other})"
            for key in one.keys
        )
        yield (
            f"{one.role:<10} version {one.version}, until {one.expires_at:%Y-%m-%d %H:%M} UTC,"
            f" {one.threshold} of {len(one.keys)}: {holders}"
        )


def _draft_lines(status: TrustStatus) -> Iterable[str]:
    for one in status.drafts:
        holders = ", ".join(f"{key.id[:12]} ({key.holder or 'offline'})" for key in one.unsigned)
        yield (
            f"{one.role:<10} version {one.version} waits: {one.signatures} signed,"
            f" {one.missing} missing of {holders}"
        )


def _export(options: dict[str, Any]) -> Iterable[str]:
    count = trust_export(organization=_organization(options), to=options["to"])
    return [f"{count} files below {options['to']}: metadata/ and targets/."]
