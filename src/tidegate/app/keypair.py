"""A server's certificate and key for gRPC, read again when their files change."""

import logging
from pathlib import Path
from typing import Any, NamedTuple

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from tidegate.app.watched import Watched
from tidegate.kit.errors import TidegateError

log = logging.getLogger(__name__)

MAX_FILE = 1 << 20


class Pem(NamedTuple):
    """A private key and its certificate chain."""

    key: bytes
    chain: bytes


class KeyPair:
    """Two files that are looked at for each handshake: a new pair serves the next connection, one that cannot be used
    is told and leaves the old one in use.
    """

    def __init__(self, certificate: Path, key: Path) -> None:
        """Raises TidegateError when the files hold no pair."""
        self._certificate, self._key = certificate, key
        try:
            self._files = Watched((certificate, key))
        except OSError as error:
            raise _unusable(certificate, key, str(error)) from None
        self._pem = read_pair(certificate, key)
        self._problem = ""

    def credentials(self) -> grpc.ServerCredentials:
        """What a gRPC server asks for its certificate; clients show none, but a token."""
        fetch: Any = self._fresh  # its None, which says that nothing has changed, is unknown to the stubs
        return grpc.dynamic_ssl_server_credentials(_configuration(self._pem), fetch, False)

    def _fresh(self) -> grpc.ServerCertificateConfiguration | None:
        """gRPC asks on threads of its own."""
        return _configuration(self._pem) if self.refresh() else None

    def refresh(self) -> bool:
        """Read the files if they have changed; whether there is a new pair."""
        try:
            if not self._changed():
                return False
            self._pem = read_pair(self._certificate, self._key)
        except TidegateError as error:
            if str(error) != self._problem:
                log.error("%s; the one read before stays in use", error)
            self._problem = str(error)
            return False
        self._problem = ""
        log.info("the certificate was read again from %s", self._certificate)
        return True

    def _changed(self) -> bool:
        try:
            return self._files.changed()
        except OSError as error:
            raise _unusable(self._certificate, self._key, str(error)) from None


def read_pair(certificate: Path, key: Path) -> Pem:
    """The files' contents. Raises TidegateError unless they are PEM and belong together."""
    try:
        chain, private = _content(certificate), _content(key)
        of_certificate = x509.load_pem_x509_certificates(chain)[0].public_key()
        of_key = serialization.load_pem_private_key(private, None).public_key()
    except (OSError, ValueError, TypeError) as error:
        raise _unusable(certificate, key, str(error)) from None
    form = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    if of_certificate.public_bytes(*form) != of_key.public_bytes(*form):
        raise _unusable(certificate, key, "the key is another certificate's")
    return Pem(private, chain)


def _content(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(MAX_FILE)


def _configuration(pem: Pem) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration([pem])


def _unusable(certificate: Path, key: Path, why: str) -> TidegateError:
    return TidegateError(
        f"certificate {certificate} with key {key} cannot be used: {why}; give a chain and its unencrypted key in PEM"
    )
