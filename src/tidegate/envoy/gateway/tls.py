"""TLS that a gateway's servers open: certificates from Secrets, from files, or the workload's own.

https://istio.io/latest/docs/reference/config/networking/gateway/#ServerTLSSettings
"""

from typing import Any

from tidegate.api.networking import ServerTLSSettings, ServerTLSSettingsMode
from tidegate.envoy import inbound, protos, server_tls, tls
from tidegate.envoy.gateway.servers import Slot
from tidegate.envoy.inputs import ClusterDefaults

Mode = ServerTLSSettingsMode

NO_CERTIFICATE = "ISTIO_MUTUAL needs a workload certificate and there is none: the server is not opened"


def opens(slot: Slot, *, mtls: bool) -> bool:
    """Whether the server's TLS can be opened here; ISTIO_MUTUAL needs the workload's own certificate."""
    settings = slot.server.tls
    return settings is not None and (mtls or settings.mode is not Mode.ISTIO_MUTUAL)


def context(slot: Slot, defaults: ClusterDefaults, *, mtls: bool) -> Any:
    """Transport socket of a server that ends TLS. ``mtls``: the agent serves the workload's certificate, and files."""
    settings = slot.server.tls or ServerTLSSettings()
    common = protos.CommonTlsContext(alpn_protocols=_alpn(slot, settings))
    if settings.mode is Mode.ISTIO_MUTUAL:
        _put_own(common, settings)
    else:
        server_tls.put_certificates(common, settings, sds=mtls)
        server_tls.put_validation(common, settings, sds=mtls)
        server_tls.put_params(common, settings, defaults)
    required = settings.mode in (Mode.MUTUAL, Mode.ISTIO_MUTUAL)
    found = protos.DownstreamTlsContext(common_tls_context=common, require_client_certificate=protos.boolean(required))
    return tls.tls_socket(found)


def _alpn(slot: Slot, settings: ServerTLSSettings) -> tuple[str, ...]:
    if settings.mode is Mode.ISTIO_MUTUAL and not slot.routes_http:
        return inbound.SERVE_TCP
    return inbound.SERVE_HTTP


def _put_own(common: Any, settings: ServerTLSSettings) -> None:
    """The workload's own certificate, for clients of the mesh; of these the server may ask for names."""
    common.tls_certificate_sds_secret_configs.append(tls.workload_secret(tls.WORKLOAD_SECRET))
    roots = tls.workload_secret(tls.WORKLOAD_ROOTS)
    checked = protos.CertificateValidationContext(
        match_subject_alt_names=[{"exact": name} for name in settings.subject_alt_names]
    )
    if settings.ca_crl:
        checked.crl.filename = settings.ca_crl
    if settings.insecure_skip_verify:
        checked.trust_chain_verification = protos.CertificateValidationContext.ACCEPT_UNTRUSTED
    common.combined_validation_context.CopyFrom(tls.combined(checked, roots))
