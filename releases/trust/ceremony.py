"""What a keeper of an offline key does, without portal, database or network.

    python -m releases.trust.ceremony create --holder "Ada" --out ada
    python -m releases.trust.ceremony show 2.root.json
    python -m releases.trust.ceremony sign 2.root.json --key ada.pem

needs this folder, `releases/errors.py`, `common/`, and the Python package tuf with cryptography.
"""

import argparse
import getpass
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from securesystemslib.exceptions import UnverifiedSignatureError
from securesystemslib.signer import CryptoSigner, Key, Signature, SSlibKey
from tuf.api.metadata import Metadata, Root, Snapshot, Targets, Timestamp

from common.errors import DomainError
from releases.errors import KeyRefused, SignatureRefused
from releases.trust.roles import HOLDER, keys_of, parsed, role_of

PASSPHRASE_CHARS = 12
PASSPHRASE_ENV = "FLEET_KEY_PASSPHRASE_FILE"  # noqa: S105 - the name of a variable
SCHEME = "ed25519"


def key_create(*, holder: str, passphrase: str) -> tuple[bytes, bytes]:
    """Return a new private key as encrypted PEM, and its public half as JSON.

    Raises KeyRefused when the passphrase is too short.
    """
    if len(passphrase) < PASSPHRASE_CHARS:
        raise KeyRefused(f"Choose a passphrase of at least {PASSPHRASE_CHARS} characters.")
    private = Ed25519PrivateKey.generate()
    pem = private.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(passphrase.encode()),
    )
    key = SSlibKey.from_crypto(private.public_key())
    public = {"keyid": key.keyid, **key.to_dict(), HOLDER: holder}
    return pem, json.dumps(public, indent=2, sort_keys=True).encode() + b"\n"


def public_key(data: bytes) -> Key:
    """Return the key of a public file. Raises KeyRefused."""
    try:
        record = json.loads(data)
        key_id = record.pop("keyid")
        key = Key.from_dict(key_id, record)
        named = SSlibKey.from_crypto(key._crypto_key()).keyid  # type: ignore[attr-defined]  # noqa: SLF001
    except Exception as error:  # noqa: BLE001 - a file somebody sent
        raise KeyRefused(f"This is no public key file: {error!r}.") from None
    if key.scheme != SCHEME or named != key_id:
        raise KeyRefused("This public key file was changed. Ask its holder for it again.")
    return key


def signer_of(pem: bytes, passphrase: str) -> CryptoSigner:
    """Return what signs with an encrypted private key. Raises KeyRefused."""
    try:
        private = serialization.load_pem_private_key(pem, passphrase.encode())
    except (ValueError, TypeError):
        raise KeyRefused("The key cannot be read. Check file and passphrase.") from None
    if not isinstance(private, Ed25519PrivateKey):
        raise KeyRefused("This key is not an Ed25519 key. Make one with `create`.")
    return CryptoSigner(private)


def document_sign(content: bytes, signer: CryptoSigner) -> bytes:
    """Return the metadata with one more signature. What is signed does not change."""
    metadata = parsed(content)
    metadata.sign(signer, append=True)
    return metadata.to_bytes()


def signatures_of(content: bytes) -> list[dict[str, str]]:
    """Return the signatures of a metadata file as `{"keyid", "sig"}`."""
    return [
        {"keyid": one.keyid, "sig": one.signature} for one in parsed(content).signatures.values()
    ]


def signature_check(key: Key, metadata: Metadata[Any], *, sig: str) -> Signature:
    """Return the signature when this key made it over exactly this. Raises SignatureRefused."""
    signature = Signature(key.keyid, sig)
    try:
        key.verify_signature(signature, metadata.signed_bytes)
    except (UnverifiedSignatureError, ValueError):
        raise SignatureRefused(
            f"The signature of key {key.keyid[:12]} does not fit what has to be signed. Download"
            " it again and sign it anew."
        ) from None
    return signature


def described(metadata: Metadata[Any]) -> list[str]:
    """Return lines that tell a keeper what a signature would stand for."""
    signed = metadata.signed
    until = f"{signed.expires:%Y-%m-%d %H:%M} UTC"
    lines = [f"{role_of(metadata)} version {signed.version}, valid until {until}"]
    if isinstance(signed, Root):
        lines += [_who(signed, role) for role in signed.roles]
    if isinstance(signed, Targets) and signed.delegations and signed.delegations.roles:
        lines += [_who(signed, role) for role in signed.delegations.roles]
    if isinstance(signed, Targets):
        lines += [
            f"  {path}  sha256 {file.hashes['sha256']}" for path, file in signed.targets.items()
        ]
    if isinstance(signed, Snapshot | Timestamp):
        lines.append("  The portal signs this by itself.")
    lines.append("signed by: " + (", ".join(key[:12] for key in metadata.signatures) or "nobody"))
    return lines


def _who(delegator: Root | Targets, role: str) -> str:
    keys = keys_of(delegator, role)
    names = ", ".join(named(key) for key in keys.keys)
    return f"  {role}: {keys.threshold} of {len(keys.keys)}: {names}"


def named(key: Key) -> str:
    """Return a key as people read it: the beginning of its id, and its holder."""
    holder = str(key.unrecognized_fields.get(HOLDER, ""))
    return f"{key.keyid[:12]}{f' ({holder})' if holder else ''}"


def passphrase_of(path: str | None, *, is_new: bool = False) -> str:
    """Return the passphrase: from a file, the file FLEET_KEY_PASSPHRASE_FILE names, or a prompt."""
    path = path or os.environ.get(PASSPHRASE_ENV)
    if path:
        return Path(path).read_text(encoding="utf-8").strip()
    given = getpass.getpass("Passphrase of the key: ")
    if is_new and getpass.getpass("Once more: ") != given:
        raise KeyRefused("The two differ. Start again.")
    return given


def key_files_write(*, out: str, holder: str, passphrase: str) -> tuple[Path, Path]:
    """Write `<out>.pem` for its holder alone and `<out>.pub.json` for everybody.

    Raises KeyRefused when one of them exists: a key is never overwritten.
    """
    pem, public = key_create(holder=holder, passphrase=passphrase)
    private_path, public_path = Path(f"{out}.pem"), Path(f"{out}.pub.json")
    for path, data, mode in ((private_path, pem, 0o600), (public_path, public, 0o644)):
        try:
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        except FileExistsError:
            raise KeyRefused(f"{path} exists. Choose another name with --out.") from None
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
    return private_path, public_path


def file_sign(*, path: Path, key: Path, passphrase: str) -> Metadata[Any]:
    """Add the key's signature to a metadata file and return what it holds then."""
    content = document_sign(path.read_bytes(), signer_of(key.read_bytes(), passphrase))
    beside = path.with_name(f".{path.name}.new")
    beside.write_bytes(content)
    beside.replace(path)
    return parsed(content)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; 0: done, 1: refused, 2: wrong use."""
    options = _parser().parse_args(argv)
    try:
        lines = options.run(options)
    except (DomainError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write("\n".join(lines) + "\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m releases.trust.ceremony")
    commands = parser.add_subparsers(required=True, metavar="command")
    creating = commands.add_parser("create", help="make a key pair")
    creating.add_argument("--holder", required=True, help="who keeps it")
    creating.add_argument("--out", required=True, help="writes OUT.pem and OUT.pub.json")
    creating.set_defaults(run=_create)
    showing = commands.add_parser("show", help="tell what a file says")
    showing.set_defaults(run=_show)
    signing = commands.add_parser("sign", help="add a signature to a file")
    signing.add_argument("--key", required=True, type=Path, help="encrypted private key")
    signing.set_defaults(run=_sign)
    for one in (showing, signing):
        one.add_argument("file", type=Path)
    for one in (creating, signing):
        one.add_argument("--passphrase-file", help=f"else {PASSPHRASE_ENV}, else asked for")
    return parser


def _create(options: argparse.Namespace) -> list[str]:
    passphrase = passphrase_of(options.passphrase_file, is_new=True)
    private, public = key_files_write(out=options.out, holder=options.holder, passphrase=passphrase)
    return [f"{private}: keep it, and its passphrase, offline.", f"{public}: hand it in."]


def _show(options: argparse.Namespace) -> list[str]:
    return described(parsed(options.file.read_bytes()))


def _sign(options: argparse.Namespace) -> list[str]:
    passphrase = passphrase_of(options.passphrase_file)
    metadata = file_sign(path=options.file, key=options.key, passphrase=passphrase)
    return [*described(metadata), f"{options.file}: signed. Hand it in."]


if __name__ == "__main__":
    sys.exit(main())
