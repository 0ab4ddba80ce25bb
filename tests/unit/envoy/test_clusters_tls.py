"""TLS of outbound clusters."""

import pytest

from tests.unit.envoy import given
from tidegate.envoy import clusters, protos
from tidegate.envoy.tls import SYSTEM_ROOTS_FILE
from tidegate.registry.model import Resolution

MESHED = given.proxy(mtls=True)
PEERS = ("spiffe://cluster.local/ns/shop/sa/orders",)
OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"


def made(settings=None, **changes):
    if settings is not None:
        changes.setdefault("rule", given.rule({"tls": settings}, **changes.pop("spec", {})))
    return clusters.build(given.cluster(**{"peers": PEERS, **changes}))


def built(settings=None, **changes):
    return protos.Cluster.FromString(made(settings, **changes).body)


def context(socket):
    found = protos.UpstreamTlsContext()
    assert socket.typed_config.Unpack(found)
    return found


def names(validation):
    return [m.exact for m in validation.match_subject_alt_names]


def options(cluster):
    found = protos.HttpProtocolOptions()
    cluster.typed_extension_protocol_options[OPTIONS].Unpack(found)
    return found.upstream_http_protocol_options


def test_plain_without_a_certificate():
    cluster = built()
    assert len(cluster.transport_socket_matches) == 0
    assert not cluster.HasField("transport_socket")


def test_automatic_mutual_tls():
    mutual, plain = built(proxy=MESHED).transport_socket_matches
    found = context(mutual.transport_socket)
    assert (mutual.name, plain.name) == ("tlsMode-istio", "tlsMode-disabled")
    assert mutual.match.fields["tlsMode"].string_value == "istio"
    assert found.sni == "outbound_.8080_._.orders.shop.svc.cluster.local"
    assert names(found.common_tls_context.combined_validation_context.default_validation_context) == list(PEERS)
    assert list(found.common_tls_context.alpn_protocols) == ["istio-peer-exchange", "istio"]


def test_http2_is_offered_in_mutual_tls():
    cluster = built(proxy=MESHED, port=given.GRPC)
    alpn = context(cluster.transport_socket_matches[0].transport_socket).common_tls_context.alpn_protocols
    assert list(alpn) == ["istio-peer-exchange", "istio", "h2"]


@pytest.mark.parametrize(
    "changes",
    [
        {"defaults": given.defaults(auto_mtls=False)},
        {"service": given.service("api.example.com")},
        {"service": given.service(resolution=Resolution.PASSTHROUGH)},
    ],
    ids=["switched off", "outside the mesh", "original destination"],
)
def test_no_automatic_mutual_tls(changes):
    assert len(built(proxy=MESHED, **changes).transport_socket_matches) == 0


def test_disable():
    cluster = built({"mode": "DISABLE"}, proxy=MESHED)
    assert not cluster.transport_socket_matches
    assert not cluster.HasField("transport_socket")


def test_istio_mutual_by_rule():
    cluster = built({"mode": "ISTIO_MUTUAL", "sni": "x.internal", "subjectAltNames": ["spiffe://a"]}, proxy=MESHED)
    found = context(cluster.transport_socket)
    assert found.sni == "x.internal"
    assert names(found.common_tls_context.combined_validation_context.default_validation_context) == ["spiffe://a"]


def test_mutual_tls_that_cannot_be_spoken_sends_nothing():
    item = made({"mode": "ISTIO_MUTUAL"})
    cluster = protos.Cluster.FromString(item.body)
    assert cluster.type == protos.Cluster.STATIC
    assert not cluster.HasField("load_assignment")
    assert not cluster.HasField("transport_socket")
    assert [d.winner.kind for d in item.decisions] == ["DestinationRule"]


def test_simple_reads_roots_itself_where_no_agent_serves_them():
    validation = context(built({"mode": "SIMPLE"}).transport_socket).common_tls_context.validation_context
    assert validation.trusted_ca.filename == SYSTEM_ROOTS_FILE
    own = context(built({"mode": "SIMPLE", "caCertificates": "/ca.pem"}).transport_socket).common_tls_context
    assert own.validation_context.trusted_ca.filename == "/ca.pem"


@pytest.mark.parametrize(("path", "secret"), [("", "file-root:system"), ("/ca.pem", "file-root:/ca.pem")])
def test_simple_asks_the_agent_for_roots(path, secret):
    found = context(built({"mode": "SIMPLE", "caCertificates": path}, proxy=MESHED).transport_socket)
    config = found.common_tls_context.combined_validation_context.validation_context_sds_secret_config
    assert config.name == secret
    assert config.sds_config.api_config_source.grpc_services[0].envoy_grpc.cluster_name == "sds-grpc"


@pytest.mark.parametrize(
    ("settings", "sni", "san"),
    [
        ({}, True, True),
        ({"sni": "a"}, False, False),
        ({"subjectAltNames": ["a"]}, True, False),
        ({"insecureSkipVerify": True}, True, False),
    ],
)
def test_names_follow_the_request_where_none_is_given(settings, sni, san):
    found = options(built({"mode": "SIMPLE", **settings}))
    assert (found.auto_sni, found.auto_san_validation) == (sni, san)


def test_skipping_verification_drops_it_all():
    common = context(built({"mode": "SIMPLE", "insecureSkipVerify": True}).transport_socket).common_tls_context
    assert common.HasField("validation_context")
    assert common.validation_context == protos.CertificateValidationContext()


def test_names_of_the_service_entry_are_accepted():
    service = given.service("api.example.com")
    cluster = built({"mode": "SIMPLE"}, service=service, peers=("spiffe://bank",))
    common = context(cluster.transport_socket).common_tls_context
    assert names(common.validation_context) == ["spiffe://bank"]
    checked = options(cluster)
    assert checked.auto_sni and checked.auto_san_validation


def test_client_certificate_files():
    files = {"mode": "MUTUAL", "clientCertificate": "/c.pem", "privateKey": "/k.pem", "caCrl": "/crl.pem"}
    common = context(built(files).transport_socket).common_tls_context
    assert common.tls_certificates[0].certificate_chain.filename == "/c.pem"
    assert common.tls_certificates[0].private_key.filename == "/k.pem"
    assert common.validation_context.crl.filename == "/crl.pem"
    by_agent = context(built(files, proxy=MESHED).transport_socket).common_tls_context
    assert by_agent.tls_certificate_sds_secret_configs[0].name == "file-cert:/c.pem~/k.pem"


def test_credentials_are_for_selected_workloads():
    settings = {"mode": "MUTUAL", "credentialName": "partner"}
    assert not built(settings).HasField("transport_socket")
    chosen = built(settings, spec={"workloadSelector": {"matchLabels": {"app": "x"}}})
    common = context(chosen.transport_socket).common_tls_context
    assert common.tls_certificate_sds_secret_configs[0].name == "kubernetes://partner"
    roots = common.combined_validation_context.validation_context_sds_secret_config
    assert roots.name == "kubernetes://partner-cacert"
    assert roots.sds_config.HasField("ads")


def test_config_maps_are_for_everyone():
    common = context(
        built({"mode": "SIMPLE", "credentialName": "configmap://roots"}).transport_socket
    ).common_tls_context
    roots = common.combined_validation_context.validation_context_sds_secret_config
    assert roots.name == "configmap://roots"


def test_originated_tls_keeps_its_own_alpn():
    cluster = built({"mode": "SIMPLE"}, port=given.GRPC)
    assert cluster.metadata.filter_metadata["istio"].fields["alpn_override"].string_value == "false"
    assert list(context(cluster.transport_socket).common_tls_context.alpn_protocols) == ["h2"]


def test_tls_defaults_of_the_mesh_hold_for_originated_tls_only():
    defaults = given.defaults(tls_min_version="TLSV1_3", tls_ciphers=("X",), tls_curves=("P-256",))
    own = context(built({"mode": "SIMPLE"}, defaults=defaults).transport_socket).common_tls_context.tls_params
    assert (list(own.cipher_suites), list(own.ecdh_curves)) == (["X"], ["P-256"])
    assert own.tls_minimum_protocol_version == protos.TlsParameters.TLSv1_2  # that of servers alone
    match = built(defaults=defaults, proxy=MESHED).transport_socket_matches[0]
    mesh = context(match.transport_socket).common_tls_context.tls_params
    assert (mesh.tls_minimum_protocol_version, list(mesh.cipher_suites)) == (protos.TlsParameters.TLSv1_2, [])


def proxy_protocol(socket):
    found = protos.ProxyProtocolUpstreamTransport()
    assert socket.typed_config.Unpack(found)
    return found


def test_proxy_protocol_goes_before_the_socket():
    rule = given.rule({"proxyProtocol": {"version": "V2"}})
    plain = proxy_protocol(built(rule=rule).transport_socket)
    assert (plain.config.version, plain.transport_socket.name) == (1, "raw_buffer")
    matches = built(rule=rule, proxy=MESHED).transport_socket_matches
    assert [proxy_protocol(m.transport_socket).transport_socket.name for m in matches] == [
        "envoy.transport_sockets.tls",
        "envoy.transport_sockets.raw_buffer",
    ]


def test_what_is_passed_on_unchosen_speaks_mutual_tls_with_everyone_or_with_nobody():
    passed = given.rule({"loadBalancer": {"simple": "PASSTHROUGH"}})
    cluster = built(rule=passed, proxy=MESHED)
    assert not cluster.transport_socket_matches
    assert names(
        context(cluster.transport_socket).common_tls_context.combined_validation_context.default_validation_context
    ) == list(PEERS)
    assert not built(rule=passed, proxy=MESHED, plain=True).HasField("transport_socket")


def test_unchecked_servers_of_a_secret_need_no_roots():
    settings = {"mode": "SIMPLE", "credentialName": "partner", "insecureSkipVerify": True}
    common = context(built(settings, proxy=given.proxy(router=True, mtls=True)).transport_socket).common_tls_context
    assert common.WhichOneof("validation_context_type") is None


def test_who_passes_tls_on_unopened_puts_nothing_before_it():
    cluster = built(rule=given.rule({"proxyProtocol": {"version": "V2"}}), proxy=MESHED, sni_dnat=True)
    assert not cluster.HasField("transport_socket") and not cluster.transport_socket_matches


def test_protocols_are_left_alone_wherever_a_rule_originates_tls():
    def told(settings):
        return built(settings).metadata.filter_metadata["istio"].fields["alpn_override"].string_value

    assert told({"mode": "SIMPLE"}) == "false"
    assert told({"mode": "SIMPLE", "credentialName": "partner"}) == "false"  # not for this client, yet TLS is meant
    assert told({"mode": "DISABLE"}) == ""
