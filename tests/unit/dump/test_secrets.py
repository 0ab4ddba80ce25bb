"""The certificate table, with certificates made here."""

import base64
import datetime
from typing import Any

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from tidegate.dump import secrets
from tidegate.dump.model import Secrets

BEGIN = datetime.datetime(2030, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)
END = BEGIN + datetime.timedelta(days=1)
NOON = BEGIN + datetime.timedelta(hours=12)


def pem(serial: int, uri: str = "") -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), serial, BEGIN, END)
    if uri:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri)]), True)
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM).decode()


def inline(text: str) -> dict[str, str]:
    return {"inlineBytes": base64.b64encode(text.encode()).decode()}


def rows(now: datetime.datetime = NOON, **lists: Any) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    return secrets.table(msgspec.convert(lists, Secrets), now)


def test_a_chain_is_told_by_its_leaf() -> None:
    chain = {"tlsCertificate": {"certificateChain": inline(pem(0x0A1, "spiffe://mesh/ns/a/sa/b") + pem(7))}}
    columns, found = rows(dynamicActiveSecrets=[{"name": "default", "secret": chain}])
    assert columns[-1] == "NOT BEFORE"
    times = ("2030-01-03T03:04:05Z", "2030-01-02T03:04:05Z")
    assert found == [("default", "Cert Chain", "ACTIVE", "true", "a1", *times)]


@pytest.mark.parametrize(
    ("now", "valid"),
    [
        (BEGIN - datetime.timedelta(seconds=1), "false"),
        (BEGIN, "true"),
        (END, "true"),
        (END + datetime.timedelta(seconds=1), "false"),
    ],
)
def test_validity_is_of_the_moment_asked_for(now: datetime.datetime, valid: str) -> None:
    root = {"validationContext": {"trustedCa": {"inlineString": pem(5)}}}
    _, found = rows(now, staticSecrets=[{"name": "ROOTCA", "secret": root}])
    assert [row[:5] for row in found] == [("ROOTCA", "CA", "ACTIVE", valid, "05")]


def test_each_root_of_a_bundle_is_told() -> None:
    root = {"validationContext": {"trustedCa": inline(pem(0x1234) + pem(0x5678))}}
    _, found = rows(dynamicActiveSecrets=[{"name": "ROOTCA", "secret": root}])
    assert [row[4] for row in found] == ["1234", "5678"]


def test_trust_domains_have_a_column_where_roots_are_bound_to_them() -> None:
    domains = [{"name": name, "trustBundle": inline(pem(serial))} for name, serial in (("east", 1), ("west", 2))]
    validator = {"name": "spiffe", "typedConfig": {"@type": "x", "trustDomains": domains}}
    entries = [
        {"name": "default", "secret": {"tlsCertificate": {"certificateChain": inline(pem(3, "spiffe://east/ns/a"))}}},
        {"name": "ROOTCA", "secret": {"validationContext": {"customValidatorConfig": validator}}},
    ]
    columns, found = rows(dynamicActiveSecrets=entries)
    assert columns[-1] == "TRUST DOMAIN"
    assert [(row[0], row[-1]) for row in found] == [("default", "east"), ("ROOTCA", "east"), ("ROOTCA", "west")]


@pytest.mark.parametrize(
    "source",
    [{}, {"filename": "/etc/certs/chain.pem"}, {"inlineString": "no certificate"}, {"inlineBytes": "%"}],
    ids=["empty", "file", "text", "bytes"],
)
def test_what_cannot_be_read_is_a_row_without_certificate(source: dict[str, str]) -> None:
    secret = {"tlsCertificate": {"certificateChain": source}}
    _, found = rows(dynamicActiveSecrets=[{"name": "a", "secret": secret}])
    assert found == [("a", "Cert Chain", "ACTIVE", "false", "", "", "")]


def test_a_secret_that_has_not_come_is_warming_and_goes_first() -> None:
    warming, active = {"name": "later", "secret": {"name": "later"}}, {"name": "now", "secret": {}}
    _, found = rows(dynamicActiveSecrets=[active], dynamicWarmingSecrets=[warming])
    assert [row[:4] for row in found] == [("later", "", "WARMING", "false"), ("now", "", "ACTIVE", "false")]
