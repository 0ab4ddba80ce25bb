"""Certificates for tests: an authority, and what it signs. They protect nothing."""

import base64
import datetime
from collections.abc import Iterable
from typing import Any, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


class Pair(NamedTuple):
    """A certificate and its key as PEM."""

    certificate: bytes
    key: bytes

    def secret(self, name: str, namespace: str, roots: bytes = b"") -> dict[str, Any]:
        """A Secret of type kubernetes.io/tls."""
        data = {"tls.crt": self.certificate, "tls.key": self.key, **({"ca.crt": roots} if roots else {})}
        return secret(name, namespace, "kubernetes.io/tls", data)


def secret(name: str, namespace: str, kind: str, data: dict[str, bytes]) -> dict[str, Any]:
    encoded = {key: base64.b64encode(value).decode() for key, value in data.items()}
    meta = {"name": name, "namespace": namespace}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": meta, "type": kind, "data": encoded}


class Authority:
    """Signs certificates for two days."""

    def __init__(self, name: str = "test authority") -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _named(name)
        self._own = self._signed(self._name, self._key, (), authority=True)

    @property
    def roots(self) -> bytes:
        return self._own.public_bytes(serialization.Encoding.PEM)

    def issue(self, *names: str) -> Pair:
        """A certificate for DNS names and URIs, the first its common name."""
        key = ec.generate_private_key(ec.SECP256R1())
        made = self._signed(_named(names[0]), key, names)
        text = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return Pair(made.public_bytes(serialization.Encoding.PEM), text)

    def _signed(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, names: Iterable[str], *, authority: bool = False
    ) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        made = (
            x509.CertificateBuilder(issuer_name=self._name, subject_name=subject, public_key=key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        )
        alternatives = [x509.UniformResourceIdentifier(n) if "://" in n else x509.DNSName(n) for n in names]
        if alternatives:
            made = made.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        return made.sign(self._key, hashes.SHA256())


def _named(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])
