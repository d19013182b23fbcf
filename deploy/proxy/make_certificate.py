"""Make a self-signed certificate for the host in FLEET_URL where the directory holds none.

It lets the proxy start before there is a real one; browsers will warn, and agents need it as
CA_FILE. Usage: make_certificate.py DIRECTORY
"""

import datetime
import ipaddress
import os
import sys
from pathlib import Path
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

LIFE = datetime.timedelta(days=397)


def main() -> int:
    directory = Path(sys.argv[1])
    chain, key_file = directory / "fullchain.pem", directory / "privkey.pem"
    if chain.exists() and key_file.exists():
        return 0
    host = urlsplit(os.environ["FLEET_URL"]).hostname or "localhost"
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = _certificate(host, key)
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    with os.fdopen(os.open(key_file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as out:
        out.write(private)
    chain.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    sys.stdout.write(f"Made a self-signed certificate for {host}; replace it by a real one.\n")
    return 0


def _certificate(host: str, key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host[:64])])
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + LIFE)
        .add_extension(x509.SubjectAlternativeName([_alternative(host)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )


def _alternative(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


if __name__ == "__main__":
    sys.exit(main())
