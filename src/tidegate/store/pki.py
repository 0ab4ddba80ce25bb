"""The embedded server's own certificates and keys: made once, kept in ``<state>/pki``, files 0600."""

import datetime
import os
import secrets
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tidegate.kit.errors import TidegateError

_LIFE = datetime.timedelta(days=3650)
_RENEW = datetime.timedelta(days=30)
_BEFORE = datetime.timedelta(days=365)
"""Certificates are valid from so long ago: a clock that is set back must not part the server from its clients."""
_NAMES = ("localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc")


class Pki(msgspec.Struct, frozen=True):
    """Where the files are, and the secrets that the server works with."""

    ca_file: Path
    cert_file: Path
    key_file: Path
    ca_pem: bytes
    signing_key: ec.EllipticCurvePrivateKey
    """Signs ServiceAccount tokens."""
    admin_token: str


def write_private(path: Path, data: bytes) -> None:
    """Write a file that only its owner may read, whole or not at all."""
    part = path.with_name(f".{path.name}.part")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def load(folder: Path, now: datetime.datetime) -> Pki:
    """Read what is there and make what is missing or about to expire."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    ca_key = _key(folder / "ca.key")
    ca = _certificate(folder / "ca.crt", now) or _make_ca(folder / "ca.crt", ca_key, now)
    server_key = _key(folder / "server.key")
    if _certificate(folder / "server.crt", now) is None:
        _make_server(folder / "server.crt", server_key, ca, ca_key, now)
    return Pki(
        ca_file=folder / "ca.crt",
        cert_file=folder / "server.crt",
        key_file=folder / "server.key",
        ca_pem=ca.public_bytes(serialization.Encoding.PEM),
        signing_key=_key(folder / "sa.key"),
        admin_token=_token(folder / "admin.token"),
    )


def _token(path: Path) -> str:
    if not path.exists():
        write_private(path, secrets.token_urlsafe(32).encode())
    return path.read_text().strip()


def _key(path: Path) -> ec.EllipticCurvePrivateKey:
    if not path.exists():
        made = ec.generate_private_key(ec.SECP256R1())
        pem = made.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        write_private(path, pem)
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), None)
    except (ValueError, TypeError) as error:
        raise TidegateError(f"{path} holds no readable private key: {error}. Remove it to have one made") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise TidegateError(f"{path} holds a key that is not ECDSA. Remove it to have one made")
    return key


def _certificate(path: Path, now: datetime.datetime) -> x509.Certificate | None:
    if not path.exists():
        return None
    try:
        found = x509.load_pem_x509_certificate(path.read_bytes())
    except ValueError as error:
        raise TidegateError(f"{path} holds no readable certificate: {error}. Remove it to have one made") from error
    return found if found.not_valid_after_utc - now > _RENEW else None


def _builder(subject: str, issuer: x509.Name | None, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(issuer or name)
    return builder.public_key(key).serial_number(x509.random_serial_number())


def _make_ca(path: Path, key: ec.EllipticCurvePrivateKey, now: datetime.datetime) -> x509.Certificate:
    usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
    made = (
        _builder("tidegate-apiserver-ca", None, key.public_key())
        .not_valid_before(now - _BEFORE)
        .not_valid_after(now + _LIFE)
        .add_extension(x509.BasicConstraints(True, 0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    write_private(path, made.public_bytes(serialization.Encoding.PEM))
    return made


def _make_server(
    path: Path,
    key: ec.EllipticCurvePrivateKey,
    ca: x509.Certificate,
    ca_key: ec.EllipticCurvePrivateKey,
    now: datetime.datetime,
) -> None:
    addresses = [x509.IPAddress(IPv4Address("127.0.0.1")), x509.IPAddress(IPv6Address("::1"))]
    names = [x509.DNSName(name) for name in _NAMES]
    made = (
        _builder("tidegate-apiserver", ca.subject, key.public_key())
        .not_valid_before(now - _BEFORE)
        .not_valid_after(min(now + _LIFE, ca.not_valid_after_utc))
        .add_extension(x509.BasicConstraints(False, None), critical=True)
        .add_extension(x509.SubjectAlternativeName([*names, *addresses]), critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    write_private(path, made.public_bytes(serialization.Encoding.PEM))
