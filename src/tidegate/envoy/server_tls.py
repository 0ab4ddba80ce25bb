"""TLS that is opened with certificates of its own, not the workload's: by servers of a gateway, and by the ingress
listeners of a Sidecar.

https://istio.io/latest/docs/reference/config/networking/gateway/#ServerTLSSettings
"""

from collections.abc import Iterator
from typing import Any

from tidegate.api.networking import ServerTLSSettings, ServerTLSSettingsMode
from tidegate.envoy import protos, tls
from tidegate.envoy.inputs import ClusterDefaults

Mode = ServerTLSSettingsMode

CERTIFICATES_AT_MOST = 2
"""Of one server: one for RSA clients, one for ECDSA."""


def socket(settings: ServerTLSSettings, alpn: tuple[str, ...], defaults: ClusterDefaults, *, sds: bool) -> Any:
    """Transport socket that ends TLS. ``sds``: the agent serves files, else Envoy reads them itself."""
    common = protos.CommonTlsContext(alpn_protocols=alpn)
    put_certificates(common, settings, sds=sds)
    put_validation(common, settings, sds=sds)
    put_params(common, settings, defaults)
    required = protos.boolean(settings.mode is Mode.MUTUAL)
    return tls.tls_socket(protos.DownstreamTlsContext(common_tls_context=common, require_client_certificate=required))


def credentials(settings: ServerTLSSettings) -> tuple[str, ...]:
    """Names of the Secrets with the server's certificates."""
    return settings.credential_names[:CERTIFICATES_AT_MOST] or tuple(filter(None, (settings.credential_name,)))


def put_certificates(common: Any, settings: ServerTLSSettings, *, sds: bool) -> None:
    """The server's certificates: from Secrets, or from files."""
    if named := credentials(settings):
        common.tls_certificate_sds_secret_configs.extend(tls.kubernetes_secret(name) for name in named)
        return
    for certificate, key in _files(settings):
        if sds:
            name = f"file-cert:{certificate}~{key}"
            common.tls_certificate_sds_secret_configs.append(tls.agent_secret(name))
        else:
            common.tls_certificates.add(
                certificate_chain=protos.DataSource(filename=certificate), private_key=protos.DataSource(filename=key)
            )


def _files(settings: ServerTLSSettings) -> Iterator[tuple[str, str]]:
    listed = [(each.server_certificate, each.private_key) for each in settings.tls_certificates]
    yield from listed[:CERTIFICATES_AT_MOST] or [(settings.server_certificate, settings.private_key)]


def client_roots(settings: ServerTLSSettings) -> str:
    """Name of the Secret or ConfigMap with the roots of clients' certificates; "" where they are in a file or where
    clients show none."""
    if settings.mode not in (Mode.MUTUAL, Mode.OPTIONAL_MUTUAL):
        return ""
    named = credentials(settings)
    return settings.ca_cert_credential_name or (tls.roots_of(named[0]) if named else "")


def put_validation(common: Any, settings: ServerTLSSettings, *, sds: bool) -> None:
    """Who a client must be: under MUTUAL and OPTIONAL_MUTUAL someone whom the roots vouch for. Envoy checks names of
    certificates only together with their roots."""
    if settings.mode not in (Mode.MUTUAL, Mode.OPTIONAL_MUTUAL):
        return
    checked = protos.CertificateValidationContext(
        verify_certificate_spki=settings.verify_certificate_spki,
        verify_certificate_hash=settings.verify_certificate_hash,
    )
    if settings.insecure_skip_verify:
        checked.trust_chain_verification = protos.CertificateValidationContext.ACCEPT_UNTRUSTED
    checked.match_subject_alt_names.extend(protos.StringMatcher(exact=name) for name in settings.subject_alt_names)
    named = client_roots(settings)
    if not named and settings.ca_crl:
        checked.crl.filename = settings.ca_crl
    if named or sds:
        roots = tls.kubernetes_secret(named) if named else tls.agent_secret(f"file-root:{settings.ca_certificates}")
        common.combined_validation_context.CopyFrom(tls.combined(checked, roots))
    else:
        if settings.ca_certificates:
            checked.trusted_ca.filename = settings.ca_certificates
        common.validation_context.CopyFrom(checked)


def put_params(common: Any, settings: ServerTLSSettings, defaults: ClusterDefaults) -> None:
    """Versions, ciphers and curves: the server's, else those of the mesh's ``tlsDefaults``; Envoy's own otherwise."""
    low = tls.VERSIONS.get(settings.min_protocol_version.value, tls.VERSIONS.get(defaults.tls_min_version))
    params = protos.TlsParameters(
        cipher_suites=tls.known_ciphers(settings.cipher_suites) or defaults.tls_ciphers,
        ecdh_curves=settings.ecdh_curves or defaults.tls_curves,
    )
    if low is not None:
        params.tls_minimum_protocol_version = low
    if (high := tls.VERSIONS.get(settings.max_protocol_version.value)) is not None:
        params.tls_maximum_protocol_version = high
    if params.ByteSize():
        common.tls_params.CopyFrom(params)
