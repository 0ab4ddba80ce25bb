"""Rules for TLS settings, of clients and of servers."""

from collections.abc import Sequence

from tidegate.api.networking import (
    ClientTLSSettings,
    ClientTLSSettingsMode,
    MinProtocolVersion,
    ServerTLSSettings,
    ServerTLSSettingsMode,
    TLSCertificate,
)
from tidegate.api.validation.findings import Findings

_FORWARD_SECRET = tuple(
    f"ECDHE-{key}-{cipher}"
    for key in ("ECDSA", "RSA")
    for cipher in ("AES128-GCM-SHA256", "AES256-GCM-SHA384", "CHACHA20-POLY1305", "AES128-SHA", "AES256-SHA")
)
_PLAIN = ("AES128-GCM-SHA256", "AES256-GCM-SHA384", "AES128-SHA", "AES256-SHA", "DES-CBC3-SHA")
CIPHERS = frozenset(_FORWARD_SECRET + _PLAIN)
_UNLISTED = frozenset(("", "ALL"))
_OLD = frozenset((MinProtocolVersion.TLSV1_0, MinProtocolVersion.TLSV1_1))
_MUTUAL = frozenset((ServerTLSSettingsMode.MUTUAL, ServerTLSSettingsMode.OPTIONAL_MUTUAL))
_PASSING = frozenset((ServerTLSSettingsMode.PASSTHROUGH, ServerTLSSettingsMode.AUTO_PASSTHROUGH))


def check_client_tls(path: str, tls: ClientTLSSettings, namespace: str, out: Findings) -> None:
    mode = tls.mode
    _config_map_namespace(f"{path}.credentialName", tls.credential_name, namespace, out)
    if tls.insecure_skip_verify:
        _skipped_verification(path, tls, out)
    with_modes = (ClientTLSSettingsMode.SIMPLE, ClientTLSSettingsMode.MUTUAL)
    if tls.credential_name and mode in with_modes:
        _excluded(path, tls, ("clientCertificate", "caCertificates", "privateKey", "caCrl"), "credentialName", out)
    elif mode is ClientTLSSettingsMode.MUTUAL:
        if not tls.client_certificate:
            out.required(f"{path}.clientCertificate", "mode MUTUAL needs a client certificate, or credentialName")
        if not tls.private_key:
            out.required(f"{path}.privateKey", "mode MUTUAL needs the client certificate's key, or credentialName")


def _config_map_namespace(path: str, credential: str, namespace: str, out: Findings) -> None:
    if not credential.startswith("configmap://"):
        return
    owner, *names = credential.removeprefix("configmap://").split("/")
    if not owner or owner != namespace or not names or not names[0]:
        expected = f"configmap://{namespace}/NAME" if namespace else "no ConfigMap, which a mesh's settings cannot name"
        out.error(path, f"must be {expected}", credential)


def _skipped_verification(path: str, tls: ClientTLSSettings, out: Findings) -> None:
    if tls.mode is ClientTLSSettingsMode.SIMPLE:
        names: tuple[str, ...] = ("caCertificates", "credentialName", "subjectAltNames")
    elif tls.mode is ClientTLSSettingsMode.MUTUAL:
        names = ("caCertificates", "subjectAltNames")
    else:
        return
    _excluded(path, tls, names, "insecureSkipVerify", out)


_FIELDS = {
    "clientCertificate": "client_certificate",
    "caCertificates": "ca_certificates",
    "credentialName": "credential_name",
    "subjectAltNames": "subject_alt_names",
    "privateKey": "private_key",
    "caCrl": "ca_crl",
    "serverCertificate": "server_certificate",
    "credentialNames": "credential_names",
    "tlsCertificates": "tls_certificates",
    "caCertCredentialName": "ca_cert_credential_name",
}


def _excluded(
    path: str, tls: ClientTLSSettings | ServerTLSSettings, names: Sequence[str], because: str, out: Findings
) -> None:
    for name in _set_fields(tls, names):
        out.error(f"{path}.{name}", f"may not be set together with {because}")


def _set_fields(tls: ClientTLSSettings | ServerTLSSettings, names: Sequence[str]) -> list[str]:
    return [name for name in names if getattr(tls, _FIELDS[name])]


_SERVER_FILES = ("serverCertificate", "privateKey", "caCertificates")
_SERVER_SOURCES = ("credentialName", "credentialNames", "tlsCertificates")


def check_server_tls(path: str, tls: ServerTLSSettings, out: Findings) -> None:
    _versions_and_ciphers(path, tls, out)
    if tls.mode is ServerTLSSettingsMode.ISTIO_MUTUAL:
        _excluded(path, tls, (*_SERVER_FILES, *_SERVER_SOURCES), "mode ISTIO_MUTUAL", out)
        return
    _certificate_sources(path, tls, out)
    if tls.mode in _PASSING:
        for name in _set_fields(tls, (*_SERVER_FILES, "caCrl", *_SERVER_SOURCES)):
            out.warn(f"{path}.{name}", f"is not used in mode {tls.mode}")
        if tls.ca_crl and tls.credential_name:
            out.error(f"{path}.caCrl", "may not be set together with credentialName, whose secret has the list")
        return
    _certificates(path, tls, out)
    _revocation(path, tls, out)


def _versions_and_ciphers(path: str, tls: ServerTLSSettings, out: Findings) -> None:
    if not tls.cipher_suites and (tls.min_protocol_version in _OLD or tls.max_protocol_version in _OLD):
        out.warn(f"{path}.minProtocolVersion", "TLS below 1.2 needs cipherSuites that those versions have")
    seen = set()
    for index, cipher in enumerate(tls.cipher_suites):
        at = f"{path}.cipherSuites[{index}]"
        if not is_cipher(cipher):
            out.warn(at, f"{cipher[:64]!r} is not a cipher suite that Envoy has; it is left out")
        elif cipher in seen:
            out.warn(at, f"{cipher!r} is listed twice")
        seen.add(cipher)


def is_cipher(text: str) -> bool:
    """A cipher suite, or one of BoringSSL's rules: those begin with a sign, as in ``-NAME`` and ``[A|B]``."""
    return text in CIPHERS or text in _UNLISTED or not text[0].isalnum()


def _certificate_sources(path: str, tls: ServerTLSSettings, out: Findings) -> None:
    given = _set_fields(tls, _SERVER_SOURCES)
    if tls.server_certificate and tls.private_key:
        given.append("serverCertificate and privateKey")
    if len(given) > 1:
        out.error(path, f"only one of {', '.join(given)} may be set")


def _certificates(path: str, tls: ServerTLSSettings, out: Findings) -> None:
    """In modes that end TLS there is a certificate, and a CA where clients show theirs."""
    if len(tls.tls_certificates) > 2:
        out.warn(f"{path}.tlsCertificates", "only the first RSA and the first ECDSA certificate are used")
    if tls.credential_name or tls.credential_names:
        return
    if tls.tls_certificates:
        for index, pair in enumerate(tls.tls_certificates):
            _pair(f"{path}.tlsCertificates[{index}]", tls, pair, out)
    else:
        _pair(path, tls, tls, out)
    if tls.mode in _MUTUAL and not tls.ca_certificates:
        out.required(f"{path}.caCertificates", f"mode {tls.mode} needs the CA of its clients")


def _pair(path: str, tls: ServerTLSSettings, pair: TLSCertificate | ServerTLSSettings, out: Findings) -> None:
    if not pair.server_certificate:
        out.required(f"{path}.serverCertificate", f"mode {tls.mode} needs a server certificate, or credentialName")
    if not pair.private_key:
        out.required(f"{path}.privateKey", f"mode {tls.mode} needs the certificate's key, or credentialName")


def _revocation(path: str, tls: ServerTLSSettings, out: Findings) -> None:
    # With credentials the list is the secret's, and Istio does not look at this field.
    files = not (tls.credential_name or tls.credential_names)
    if tls.ca_crl and files and tls.mode is ServerTLSSettingsMode.SIMPLE:
        out.error(f"{path}.caCrl", "needs a mode in which clients show a certificate")
