"""A root and a serving certificate of one's own making, for a first try; workload certificates are another matter."""

import datetime
import ipaddress
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tidegate.api.metadata import is_dns_subdomain
from tidegate.kit.errors import TidegateError
from tidegate.store.pki import write_private

ROOT, ROOT_KEY = "root-cert.pem", "root-key.pem"
CERTIFICATE, KEY = "tls.crt", "tls.key"
_ROOT_LIFE = datetime.timedelta(days=3650)
_BEFORE = datetime.timedelta(hours=1)
"""Certificates are valid from so long ago: clocks differ."""
_PEM = serialization.Encoding.PEM
Key = ec.EllipticCurvePrivateKey


def make(folder: Path, names: Sequence[str], life: datetime.timedelta, now: datetime.datetime) -> bool:
    """A new certificate for DNS names and addresses in ``folder``, from the root that is there or from a new one.
    Tells whether the root is new.

    Raises TidegateError for a name that is none, and for a root that cannot be used.
    """
    alternatives = [_alternative(name) for name in names]
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise TidegateError(f"folder {folder} cannot be made: {error.strerror}") from None
    fresh = not (folder / ROOT).exists()
    if fresh:
        _make_root(folder, now)
    root, root_key = _read_root(folder)
    key = ec.generate_private_key(ec.SECP256R1())
    made = (
        _builder("tidegate-discovery", root.subject, key, now, min(now + life, root.not_valid_after_utc))
        .add_extension(x509.BasicConstraints(False, None), critical=True)
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key()), critical=False)
        .sign(root_key, hashes.SHA256())
    )
    _write(folder / KEY, _encoded(key))
    _write(folder / CERTIFICATE, made.public_bytes(_PEM))
    return fresh


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        pass
    if not is_dns_subdomain(name.lower().removeprefix("*.")):
        raise TidegateError(f"--name {name[:200]!r}: expected a DNS name or an IP address")
    return x509.DNSName(name)


def _make_root(folder: Path, now: datetime.datetime) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tidegate-root")])
    usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
    made = (
        _builder("tidegate-root", name, key, now, now + _ROOT_LIFE)
        .add_extension(x509.BasicConstraints(True, 0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    _write(folder / ROOT_KEY, _encoded(key))
    _write(folder / ROOT, made.public_bytes(_PEM))


def _read_root(folder: Path) -> tuple[x509.Certificate, Key]:
    try:
        root = x509.load_pem_x509_certificate((folder / ROOT).read_bytes())
        key = serialization.load_pem_private_key((folder / ROOT_KEY).read_bytes(), None)
    except (OSError, ValueError, TypeError) as error:
        raise TidegateError(
            f"the root in {folder} ({ROOT}, {ROOT_KEY}) cannot be used: {error}; remove both to have another made"
        ) from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != root.public_key():
        raise TidegateError(f"{folder / ROOT_KEY} is not the key of {folder / ROOT}; remove both to have others made")
    return root, key


def _builder(
    subject: str, issuer: x509.Name, key: Key, now: datetime.datetime, end: datetime.datetime
) -> x509.CertificateBuilder:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(issuer).public_key(key.public_key())
    return builder.serial_number(x509.random_serial_number()).not_valid_before(now - _BEFORE).not_valid_after(end)


def _encoded(key: Key) -> bytes:
    return key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def _write(path: Path, data: bytes) -> None:
    try:
        write_private(path, data)
    except OSError as error:
        raise TidegateError(f"{path} cannot be written: {error.strerror}") from None
