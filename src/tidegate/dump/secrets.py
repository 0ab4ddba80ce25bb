"""The certificates of a dump's secrets. Only public parts are read: chains and trusted roots."""

import base64
import binascii
import datetime
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import msgspec

from tidegate.dump.model import DataSource, Secret, SecretEntry, Secrets

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

COLUMNS = ("RESOURCE NAME", "TYPE", "STATUS", "VALID CERT", "SERIAL NUMBER", "NOT AFTER", "NOT BEFORE")
ROOTS = "ROOTCA"
"""Name of the secret that holds the mesh's roots."""
_TRUST_DOMAIN = "TRUST DOMAIN"
_SPIFFE = "spiffe://"


class Item(msgspec.Struct, frozen=True):
    """One line of the table: a secret, or one certificate of a secret that holds several."""

    name: str
    type: str
    status: str
    certificate: "Certificate | None" = None
    trust_domain: str = ""


def table(secrets: Secrets, now: datetime.datetime, prefix: str = "") -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Columns and rows. ``now`` decides VALID CERT; TRUST DOMAIN is there where a root is bound to one."""
    items = [*_items(secrets.dynamic_warming_secrets, "WARMING"), *_items(secrets.dynamic_active_secrets, "ACTIVE")]
    items += _items(secrets.static_secrets, "ACTIVE")
    rows: list[tuple[str, ...]] = [
        (prefix + item.name, item.type, item.status, *_cells(item.certificate, now)) for item in items
    ]
    if not any(item.type == "CA" and item.trust_domain for item in items):
        return COLUMNS, rows
    return (*COLUMNS, _TRUST_DOMAIN), [(*row, item.trust_domain) for row, item in zip(rows, items, strict=True)]


def _items(entries: Iterable[SecretEntry], status: str) -> Iterator[Item]:
    for entry in entries:
        for kind, certificate, domain in _certificates(entry.secret):
            yield Item(entry.name, kind, status, certificate, domain)


def _certificates(secret: Secret) -> "Iterator[tuple[str, Certificate | None, str]]":
    """A chain is told by its leaf; of roots, each one is told."""
    if secret.tls_certificate:
        leaf = next(iter(_read(secret.tls_certificate.certificate_chain)), None)
        yield "Cert Chain", leaf, _spiffe_domain(leaf)
    elif secret.validation_context:
        context = secret.validation_context
        domains = context.custom_validator_config.typed_config.trust_domains
        bundles = [(each.trust_bundle, each.name) for each in domains] or [(context.trusted_ca, "")]
        for source, domain in bundles:
            for root in _read(source) or (None,):
                yield "CA", root, domain
    else:
        yield "", None, ""


def roots(secrets: Secrets) -> "list[Certificate]":
    """The roots by which a proxy knows the other proxies of its mesh; none where it has none."""
    active = [
        entry.secret for entry in (*secrets.dynamic_active_secrets, *secrets.static_secrets) if entry.name == ROOTS
    ]
    found = (_certificates(secret) for secret in active if secret.validation_context)
    return [certificate for each in found for _, certificate, _ in each if certificate is not None]


def _read(source: DataSource) -> "list[Certificate]":
    """Certificates in PEM; none where the proxy has them from elsewhere or they cannot be read."""
    from cryptography.x509 import load_pem_x509_certificates

    try:
        text = source.inline_string.encode() or base64.b64decode(source.inline_bytes)
        return load_pem_x509_certificates(text) if text else []
    except (binascii.Error, ValueError):
        return []


def _cells(certificate: "Certificate | None", now: datetime.datetime) -> tuple[str, str, str, str]:
    if certificate is None:
        return "false", "", "", ""
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    serial = certificate.serial_number
    digits = serial.to_bytes(max(1, (serial.bit_length() + 7) // 8), "big").hex()
    return ("true" if begin <= now <= end else "false"), digits, _time(end), _time(begin)


def _time(moment: datetime.datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _spiffe_domain(certificate: "Certificate | None") -> str:
    """The trust domain in a certificate's SPIFFE identity, which is a URI among its alternative names (X.509-SVID)."""
    from cryptography.x509 import ExtensionNotFound, SubjectAlternativeName, UniformResourceIdentifier

    if certificate is None:
        return ""
    try:
        names = certificate.extensions.get_extension_for_class(SubjectAlternativeName).value
        uris = names.get_values_for_type(UniformResourceIdentifier)
    except (ExtensionNotFound, ValueError):
        return ""
    found = (uri.removeprefix(_SPIFFE).partition("/")[0] for uri in uris if uri.startswith(_SPIFFE))
    return next(found, "")
