"""TLS towards upstreams and on inbound chains.

Certificates come in two ways. A workload that has one (``proxy.mtls``) runs an agent that serves secrets on the
static cluster ``sds-grpc``, and everything is asked of it, as Istio's proxies do. Without one there is no such
cluster and Envoy would refuse a cluster or listener that names it: files and the system's roots are then read by
Envoy itself.
"""

from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import msgspec

from tidegate.api.networking import ClientTLSSettings, ClientTLSSettingsMode
from tidegate.api.validation.tls import CIPHERS
from tidegate.envoy import protos
from tidegate.envoy.inputs import ClusterDefaults, ClusterInput
from tidegate.kit import naming
from tidegate.registry.addresses import is_ip
from tidegate.registry.model import Registry, Resolution

Mode = ClientTLSSettingsMode

WORKLOAD_SECRET, WORKLOAD_ROOTS = "default", "ROOTCA"
SDS_CLUSTER = "sds-grpc"
SYSTEM_ROOTS = "system"
SYSTEM_ROOTS_FILE = "/etc/ssl/certs/ca-certificates.crt"
"""Where Debian, Ubuntu and Alpine keep the system's roots. Envoy's own ``system_root_certs`` does not do: without a
trusted CA that it can see, Envoy 1.40 refuses to check subject names."""
NOT_FOR_ALL = (
    "credentialName is for gateways and for workloads that workloadSelector chooses: this client connects in plain text"
)
MESH_ALPN = ("istio-peer-exchange", "istio")
MESH_CIPHERS = (
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "AES256-GCM-SHA384",
    "AES128-GCM-SHA256",
)

VERSIONS = {
    "TLSV1_0": protos.TlsParameters.TLSv1_0,
    "TLSV1_1": protos.TlsParameters.TLSv1_1,
    "TLSV1_2": protos.TlsParameters.TLSv1_2,
    "TLSV1_3": protos.TlsParameters.TLSv1_3,
}


class UpstreamTls(msgspec.Struct, frozen=True):
    """How a cluster secures its connections."""

    socket: Any = None
    """Transport socket for every endpoint; None: plain, or as ``matches`` say."""
    matches: tuple[Any, ...] = ()
    """Transport sockets by endpoint: mutual TLS to those that take it, else plain."""
    auto_sni: bool = False
    auto_san_validation: bool = False
    refused: bool = False
    """Mutual TLS is demanded and the workload has no certificate."""


PLAIN = UpstreamTls()


def upstream(
    given: ClusterInput, settings: ClientTLSSettings | None, *, http2: bool, original_dst: bool
) -> UpstreamTls:
    """What a DestinationRule's TLS block, or automatic mutual TLS in its absence, makes of a cluster."""
    if settings is None:
        wanted = given.proxy.mtls and given.defaults.auto_mtls and not given.plain
        if not wanted or given.service.external:
            return PLAIN
        if original_dst:  # every endpoint takes it, or the input says plain
            return UpstreamTls(socket=tls_socket(_automatic_context(given, http2)))
        return UpstreamTls(matches=_automatic(given, http2))
    if settings.mode is Mode.DISABLE:
        return PLAIN
    if settings.mode is Mode.ISTIO_MUTUAL:
        return _mutual(given, settings, http2)
    return _originated(given, settings, http2)


def _automatic_context(given: ClusterInput, http2: bool) -> Any:
    sni = naming.sni_cluster(given.port.number, given.subset, given.service.host)
    return _mesh_context(sni, given.peers, http2)


def _automatic(given: ClusterInput, http2: bool) -> tuple[Any, ...]:
    mutual = protos.Cluster.TransportSocketMatch(
        name="tlsMode-istio", transport_socket=tls_socket(_automatic_context(given, http2))
    )
    mutual.match.fields["tlsMode"].string_value = "istio"
    return (mutual, _plain_match())


@lru_cache(maxsize=1)
def _plain_match() -> Any:
    """The transport socket of endpoints that take no mutual TLS. Never change it: copy it."""
    return protos.Cluster.TransportSocketMatch(
        name="tlsMode-disabled",
        match=protos.Struct(),
        transport_socket=protos.transport_socket("envoy.transport_sockets.raw_buffer", protos.RawBuffer()),
    )


def _mutual(given: ClusterInput, settings: ClientTLSSettings, http2: bool) -> UpstreamTls:
    if not given.proxy.mtls:
        return UpstreamTls(refused=True)
    by_request = _by_request(given, settings)
    sni = settings.sni
    if not sni and not by_request:
        sni = naming.sni_cluster(given.port.number, given.subset, given.service.host)
    names = settings.subject_alt_names or given.peers
    found = UpstreamTls(socket=tls_socket(_mesh_context(sni, names, http2)))
    return msgspec.structs.replace(found, **by_request)


def _mesh_context(sni: str, names: tuple[str, ...], http2: bool) -> Any:
    context = protos.UpstreamTlsContext(common_tls_context=_mesh_common(http2), sni=sni)
    validation = context.common_tls_context.combined_validation_context.default_validation_context
    for name in names:
        validation.match_subject_alt_names.add(exact=name)
    return context


@lru_cache(maxsize=2)
def _mesh_common(http2: bool) -> Any:
    """What mutual TLS to all services shares: the constructors of other messages copy it."""
    return protos.CommonTlsContext(
        tls_params=_client_params(None),
        alpn_protocols=(*MESH_ALPN, "h2") if http2 else MESH_ALPN,
        tls_certificate_sds_secret_configs=[workload_secret(WORKLOAD_SECRET)],
        combined_validation_context=combined(_exact(()), workload_secret(WORKLOAD_ROOTS)),
    )


def _originated(given: ClusterInput, settings: ClientTLSSettings, http2: bool) -> UpstreamTls:
    """SIMPLE and MUTUAL. A Secret is for gateways, and for sidecars that the rule selects: others connect plainly,
    as with Istio, for a Secret must not be readable by every workload; a ConfigMap holds no secret."""
    named = settings.credential_name
    if named and not (given.proxy.router or _selects(given) or named.startswith("configmap://")):
        return PLAIN
    names = settings.subject_alt_names
    if not names and given.service.registry is Registry.EXTERNAL:
        names = given.peers
    found = originated(settings, names, given.defaults, http2=http2, sds=given.proxy.mtls)
    return msgspec.structs.replace(found, **_by_request(given, settings))


def _by_request(given: ClusterInput, settings: ClientTLSSettings) -> dict[str, bool]:
    """What TLS takes from the request where the request alone names the host."""
    if given.service.resolution is not Resolution.DYNAMIC_DNS:
        return {}
    return {"auto_sni": not settings.sni, "auto_san_validation": not settings.insecure_skip_verify}


def originated(
    settings: ClientTLSSettings, names: tuple[str, ...], defaults: ClusterDefaults, *, http2: bool, sds: bool
) -> UpstreamTls:
    """TLS of mode SIMPLE or MUTUAL to servers with one of these names; without any, and without ``sni``, to those that
    requests name. ``sds``: certificates are asked of the agent."""
    common = protos.CommonTlsContext(tls_params=_client_params(defaults), alpn_protocols=("h2",) if http2 else ())
    _put_certificates(common, settings, sds=sds)
    _put_validation(common, settings, names, sds=sds)
    checked = not settings.insecure_skip_verify
    return UpstreamTls(
        socket=tls_socket(protos.UpstreamTlsContext(common_tls_context=common, sni=settings.sni)),
        auto_sni=not settings.sni,
        auto_san_validation=not settings.sni and not settings.subject_alt_names and checked,
    )


def _selects(given: ClusterInput) -> bool:
    selector = given.rule.spec.workload_selector if given.rule else None
    return selector is not None and bool(selector.match_labels)


def _put_certificates(common: Any, settings: ClientTLSSettings, *, sds: bool) -> None:
    if settings.mode is not Mode.MUTUAL:
        return
    if settings.credential_name:
        common.tls_certificate_sds_secret_configs.append(kubernetes_secret(settings.credential_name))
    elif sds:
        name = f"file-cert:{settings.client_certificate}~{settings.private_key}"
        common.tls_certificate_sds_secret_configs.append(agent_secret(name))
    else:
        common.tls_certificates.add(
            certificate_chain=protos.DataSource(filename=settings.client_certificate),
            private_key=protos.DataSource(filename=settings.private_key),
        )


def _put_validation(common: Any, settings: ClientTLSSettings, names: tuple[str, ...], *, sds: bool) -> None:
    if settings.insecure_skip_verify:
        if not settings.credential_name:
            common.validation_context.SetInParent()
        return
    context = _exact(names)
    if settings.ca_crl and not settings.credential_name:
        context.crl.filename = settings.ca_crl
    if settings.credential_name:
        roots = kubernetes_secret(roots_of(settings.credential_name))
    elif sds:
        roots = agent_secret(f"file-root:{settings.ca_certificates or SYSTEM_ROOTS}")
    else:
        own = settings.ca_certificates
        context.trusted_ca.filename = own if own not in ("", SYSTEM_ROOTS) else SYSTEM_ROOTS_FILE
        common.validation_context.CopyFrom(context)
        return
    common.combined_validation_context.CopyFrom(combined(context, roots))


def known_ciphers(names: Iterable[str]) -> tuple[str, ...]:
    """Without those that Envoy does not know: it would refuse them all."""
    return tuple(dict.fromkeys(name for name in names if name.lstrip("-+") in CIPHERS))


def roots_of(credential: str) -> str:
    """Secrets keep the CA under a name of their own; a ConfigMap is the CA."""
    return credential if credential.startswith("configmap://") else f"{credential}-cacert"


def _exact(names: tuple[str, ...]) -> Any:
    return protos.CertificateValidationContext(match_subject_alt_names=[{"exact": name} for name in names])


def combined(context: Any, roots: Any) -> Any:
    return protos.CommonTlsContext.CombinedCertificateValidationContext(
        default_validation_context=context, validation_context_sds_secret_config=roots
    )


def _agent_source() -> Any:
    return protos.ConfigSource(
        api_config_source=protos.ApiConfigSource(
            api_type=protos.ApiConfigSource.GRPC,
            transport_api_version=protos.ApiVersion.V3,
            grpc_services=[{"envoy_grpc": {"cluster_name": SDS_CLUSTER}}],
            set_node_on_first_message_only=True,
        ),
        resource_api_version=protos.ApiVersion.V3,
    )


_AGENT_SOURCE = _agent_source()


def agent_secret(name: str) -> Any:
    """A secret that the agent reads from files: Envoy waits its usual time for it, as the files may be missing."""
    return protos.SdsSecretConfig(name=name, sds_config=_AGENT_SOURCE)


def workload_secret(name: str) -> Any:
    """The workload's own certificate or roots: Envoy waits for them without limit."""
    config = protos.SdsSecretConfig(name=name, sds_config=_AGENT_SOURCE)
    config.sds_config.initial_fetch_timeout.SetInParent()
    return config


def credential_name(credential: str) -> str:
    """The name by which Envoy asks for a ``credentialName``. ``sds://`` names are a local provider's; there is none,
    and they are taken for Secrets."""
    plain = credential.removeprefix("sds://")
    return plain if "://" in plain else f"kubernetes://{plain}"


def kubernetes_secret(credential: str) -> Any:
    """A Secret or ConfigMap, which the control plane serves."""
    name = credential_name(credential)
    source = protos.ConfigSource(ads=protos.AggregatedConfigSource(), resource_api_version=protos.ApiVersion.V3)
    return protos.SdsSecretConfig(name=name, sds_config=source)


def _client_params(defaults: ClusterDefaults | None) -> Any:
    """Mesh ``tlsDefaults`` hold for TLS other than the mesh's own, which goes without them."""
    return protos.TlsParameters(
        tls_minimum_protocol_version=protos.TlsParameters.TLSv1_2,
        tls_maximum_protocol_version=protos.TlsParameters.TLSv1_3,
        cipher_suites=defaults.tls_ciphers if defaults else (),
        ecdh_curves=defaults.tls_curves if defaults else (),
    )


def tls_socket(context: Any) -> Any:
    return protos.transport_socket("envoy.transport_sockets.tls", context)


def to_host(host: str, defaults: ClusterDefaults, *, sds: bool) -> Any:
    """Transport socket of TLS to a host that one of the system's roots vouches for."""
    name = "" if is_ip(host) else host
    settings = ClientTLSSettings(mode=Mode.SIMPLE, sni=name)
    common = protos.CommonTlsContext(tls_params=_client_params(defaults))
    _put_validation(common, settings, (host,), sds=sds)
    return tls_socket(protos.UpstreamTlsContext(common_tls_context=common, sni=name))


def downstream_mesh(alpn: tuple[str, ...], defaults: ClusterDefaults) -> Any:
    """Transport socket of an inbound chain that ends mutual TLS: peers of the trust domain and its aliases only."""
    domains = (defaults.trust_domain, *defaults.trust_domain_aliases)
    context = protos.CertificateValidationContext(
        match_subject_alt_names=[{"prefix": f"spiffe://{domain}/"} for domain in domains]
    )
    common = protos.CommonTlsContext(
        tls_params=protos.TlsParameters(
            tls_minimum_protocol_version=VERSIONS.get(defaults.mesh_tls_min_version, protos.TlsParameters.TLSv1_2),
            tls_maximum_protocol_version=protos.TlsParameters.TLSv1_3,
            cipher_suites=known_ciphers(defaults.mesh_tls_ciphers) or MESH_CIPHERS,
        ),
        tls_certificate_sds_secret_configs=[workload_secret(WORKLOAD_SECRET)],
        combined_validation_context=combined(context, workload_secret(WORKLOAD_ROOTS)),
        alpn_protocols=alpn,
    )
    return tls_socket(
        protos.DownstreamTlsContext(common_tls_context=common, require_client_certificate=protos.boolean(True))
    )


def with_proxy_protocol(socket: Any, version: int) -> Any:
    """Put PROXY protocol (0: V1, 1: V2) before a transport socket; None stands for a plain one."""
    inner = socket if socket is not None else protos.transport_socket("raw_buffer", protos.RawBuffer())
    return protos.transport_socket(
        "envoy.transport_sockets.upstream_proxy_protocol",
        protos.ProxyProtocolUpstreamTransport(
            config=protos.ProxyProtocolConfig(version=version), transport_socket=inner
        ),
    )
