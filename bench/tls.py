"""The TLS certificate of a node in a benchmark."""

from __future__ import annotations

import datetime as dt
import ipaddress
import ssl
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

LIFE = dt.timedelta(days=30)


def certificate(folder: Path) -> tuple[Path, Path]:
    """Return PEM files of a self-signed certificate for 127.0.0.1 and of its key."""
    shown, key_file = folder / "certificate.pem", folder / "certificate.key"
    now = dt.datetime.now(dt.UTC)
    if shown.is_file() and now.timestamp() - shown.stat().st_mtime < LIFE.total_seconds() / 2:
        return shown, key_file
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "benchmark")])
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.IPv4Address("127.0.0.1"))])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + LIFE)
        .add_extension(address, critical=False)
        .sign(key, hashes.SHA256())
    )
    encoding, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    key_file.write_bytes(key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, plain))
    key_file.chmod(0o600)
    shown.write_bytes(made.public_bytes(encoding))
    return shown, key_file


def trusting() -> ssl.SSLContext:
    """Return a TLS context for phones, which accepts any certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
