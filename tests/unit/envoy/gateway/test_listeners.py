"""Listeners and filter chains of gateways."""

from typing import Any

import pytest

from tests.unit.envoy.gateway.front import Front, bound, gateway, manager, own_service, server, simple, tcp, tls, web
from tests.worlds import entry, made, mesh, policy
from tidegate.api.mesh import ForwardClientCertDetails, Topology
from tidegate.envoy import protos
from tidegate.scope.proxy import ProxyKind

DB = {"destination": {"host": "db.example", "port": {"number": 5432}}}


def opaque(where: str, name: str, *, tcp_routes: Any = (), tls_routes: Any = (), host: str = "*") -> Any:
    return made("VirtualService", where, hosts=[host], gateways=[name], tcp=list(tcp_routes), tls=list(tls_routes))


def by_name(*names: str, port: int = 0) -> dict[str, Any]:
    match: dict[str, Any] = {"sniHosts": list(names)} | ({"port": port} if port else {})
    return {"match": [match], "route": [DB]}


class TestHttp:
    def test_a_gateway_binds_and_trusts_nothing_that_clients_say_of_themselves(self) -> None:
        found = Front(gateway("edge/one", server(80, "HTTP"))).listener("0.0.0.0_80")
        assert not found.HasField("bind_to_port") and found.traffic_direction == 2
        assert not found.listener_filters
        shown = manager(found.filter_chains[0])
        assert shown.use_remote_address.value and shown.forward_client_cert_details == 3  # SANITIZE_SET
        assert shown.rds.route_config_name == "http.80" and shown.stat_prefix == "outbound_0.0.0.0_80;"
        assert shown.set_current_client_cert_details.cert

    def test_what_stands_before_it_is_trusted_as_far_as_told(self) -> None:
        told = Topology(num_trusted_proxies=2, forward_client_cert_details=ForwardClientCertDetails.ALWAYS_FORWARD_ONLY)
        shown = manager(
            Front(gateway("edge/one", server(80, "HTTP")), topology=told).listener("0.0.0.0_80").filter_chains[0]
        )
        assert shown.xff_num_trusted_hops == 2 and shown.forward_client_cert_details == 4

    def test_the_meshs_topology_holds_where_the_proxy_says_nothing(self) -> None:
        text = "defaultConfig: {gatewayTopology: {numTrustedProxies: 1, proxyProtocol: {}}}"
        found = Front(mesh(text), gateway("edge/one", server(80, "HTTP"))).listener("0.0.0.0_80")
        assert [each.name for each in found.listener_filters] == ["envoy.filters.listener.proxy_protocol"]
        assert manager(found.filter_chains[0]).xff_num_trusted_hops == 1

    def test_the_access_log_of_the_mesh_is_the_gateways(self) -> None:
        found = Front(mesh("accessLogFile: /dev/stdout"), gateway("edge/one", server(80, "HTTP")))
        listener = found.listener("0.0.0.0_80")
        assert listener.access_log and manager(listener.filter_chains[0]).access_log


class TestTls:
    def test_simple_shows_the_certificate_of_a_secret(self) -> None:
        found = Front(gateway("edge/one", simple(443, "a.example")))
        listener = found.listener("0.0.0.0_443")
        assert [each.name for each in listener.listener_filters] == ["envoy.filters.listener.tls_inspector"]
        shown = tls(listener.filter_chains[0])
        assert [s.name for s in shown.common_tls_context.tls_certificate_sds_secret_configs] == ["kubernetes://cert"]
        assert shown.common_tls_context.tls_certificate_sds_secret_configs[0].sds_config.HasField("ads")
        assert not shown.require_client_certificate.value
        assert list(shown.common_tls_context.alpn_protocols) == ["h2", "http/1.1"]
        assert manager(listener.filter_chains[0]).rds.route_config_name == "https.443.https-443.one.edge"

    @pytest.mark.parametrize(("mode", "required"), [("MUTUAL", True), ("OPTIONAL_MUTUAL", False)])
    def test_clients_are_checked_by_the_roots_of_the_secret(self, mode: str, required: bool) -> None:
        given = simple(443, "a.example", mode=mode, subjectAltNames=["ops"], verifyCertificateHash=["ab"])
        shown = tls(Front(gateway("edge/one", given)).chains("0.0.0.0_443")["a.example"])
        checked = shown.common_tls_context.combined_validation_context
        assert checked.validation_context_sds_secret_config.name == "kubernetes://cert-cacert"
        assert [n.exact for n in checked.default_validation_context.match_subject_alt_names] == ["ops"]
        assert list(checked.default_validation_context.verify_certificate_hash) == ["ab"]
        assert shown.require_client_certificate.value is required

    def test_roots_may_have_a_secret_of_their_own(self) -> None:
        given = simple(443, "a.example", mode="MUTUAL", caCertCredentialName="partners")
        shown = tls(Front(gateway("edge/one", given)).chains("0.0.0.0_443")["a.example"])
        roots = shown.common_tls_context.combined_validation_context.validation_context_sds_secret_config
        assert roots.name == "kubernetes://partners"

    def test_versions_ciphers_and_curves(self) -> None:
        ciphers = ["ECDHE-RSA-AES128-GCM-SHA256", "NONE-SUCH", "ECDHE-RSA-AES128-GCM-SHA256"]
        given = simple(443, "a.example", minProtocolVersion="TLSV1_2", cipherSuites=ciphers, ecdhCurves=["P-256"])
        params = tls(Front(gateway("edge/one", given)).chains("0.0.0.0_443")["a.example"]).common_tls_context.tls_params
        assert params.tls_minimum_protocol_version == 3 and params.tls_maximum_protocol_version == 0
        assert list(params.cipher_suites) == ["ECDHE-RSA-AES128-GCM-SHA256"] and list(params.ecdh_curves) == ["P-256"]

    def test_files_are_read_by_envoy_or_by_the_agent(self) -> None:
        files = {"serverCertificate": "/c.pem", "privateKey": "/k.pem", "caCertificates": "/a.pem", "caCrl": "/l.pem"}
        given = gateway("edge/one", server(443, "HTTPS", "a.example", mode="MUTUAL", **files))
        plain = tls(Front(given).chains("0.0.0.0_443")["a.example"]).common_tls_context
        assert plain.tls_certificates[0].certificate_chain.filename == "/c.pem"
        assert plain.validation_context.trusted_ca.filename == "/a.pem"
        assert plain.validation_context.crl.filename == "/l.pem"
        served = tls(Front(given, certificates=True).chains("0.0.0.0_443")["a.example"]).common_tls_context
        assert served.tls_certificate_sds_secret_configs[0].name == "file-cert:/c.pem~/k.pem"
        assert served.combined_validation_context.validation_context_sds_secret_config.name == "file-root:/a.pem"

    def test_unverified_clients_are_checked_by_pins_alone(self) -> None:
        given = simple(443, "a.example", mode="MUTUAL", insecureSkipVerify=True, verifyCertificateSpki=["pin"])
        shown = tls(Front(gateway("edge/one", given)).chains("0.0.0.0_443")["a.example"]).common_tls_context
        checked = shown.combined_validation_context.default_validation_context
        assert list(checked.verify_certificate_spki) == ["pin"]
        assert checked.trust_chain_verification == protos.CertificateValidationContext.ACCEPT_UNTRUSTED

    def test_mutual_tls_of_the_mesh_is_not_opened_without_a_certificate(self) -> None:
        given = gateway("edge/one", server(443, "HTTPS", "a.example", mode="ISTIO_MUTUAL"))
        without = Front(given)
        assert without.listeners() == []
        assert "not opened" in without.decisions()[0].rule
        opened = tls(Front(given, certificates=True).chains("0.0.0.0_443")["a.example"])
        assert opened.common_tls_context.tls_certificate_sds_secret_configs[0].name == "default"
        assert opened.require_client_certificate.value

    def test_tls_defaults_of_the_mesh_hold_where_the_server_says_nothing(self) -> None:
        config = mesh("tlsDefaults: {minProtocolVersion: TLSV1_3, ecdhCurves: [P-256], cipherSuites: [A]}")
        own = simple(444, "b.example", minProtocolVersion="TLSV1_2")
        found = Front(config, gateway("edge/one", simple(443, "a.example"), own))
        params = tls(found.chains("0.0.0.0_443")["a.example"]).common_tls_context.tls_params
        assert (list(params.ecdh_curves), list(params.cipher_suites)) == (["P-256"], ["A"])
        assert params.tls_minimum_protocol_version == protos.TlsParameters.TLSv1_3
        params = tls(found.chains("0.0.0.0_444")["b.example"]).common_tls_context.tls_params
        assert params.tls_minimum_protocol_version == protos.TlsParameters.TLSv1_2

    def test_servers_of_mutual_tls_may_ask_for_names(self) -> None:
        asked = server(443, "HTTPS", "a.example", mode="ISTIO_MUTUAL", subjectAltNames=["spiffe://x"])
        shown = tls(Front(gateway("edge/one", asked), certificates=True).chains("0.0.0.0_443")["a.example"])
        checked = shown.common_tls_context.combined_validation_context.default_validation_context
        assert [n.exact for n in checked.match_subject_alt_names] == ["spiffe://x"]

    def test_any_host_needs_no_server_name(self) -> None:
        assert list(Front(gateway("edge/one", simple(443, "*"))).chains("0.0.0.0_443")) == [""]


class TestBytes:
    def test_a_tcp_server_carries_to_the_first_route_that_holds(self) -> None:
        found = Front(
            own_service(),
            gateway("edge/one", server(5432, "TCP")),
            opaque(
                "shop/db",
                "edge/one",
                tcp_routes=[{"match": [{"port": 1}], "route": [DB]}, {"match": [{"port": 5432}], "route": [DB]}],
            ),
        )
        (chain,) = found.listener("0.0.0.0_5432").filter_chains
        assert tcp(chain).cluster == "outbound|5432||db.example"

    def test_weights_and_mongo(self) -> None:
        other = {"destination": {"host": "db2.example", "port": {"number": 5432}}, "weight": 1}
        found = Front(
            gateway("edge/one", server(27017, "MONGO")),
            opaque("edge/db", "one", tcp_routes=[{"route": [DB | {"weight": 3}, other]}]),
        )
        (chain,) = found.listener("0.0.0.0_27017").filter_chains
        assert [f.name for f in chain.filters] == [
            "envoy.filters.network.mongo_proxy",
            "envoy.filters.network.tcp_proxy",
        ]
        assert [c.weight for c in tcp(chain).weighted_clusters.clusters] == [3, 1]

    def test_tls_that_ends_here_is_carried_as_tcp(self) -> None:
        found = Front(
            gateway("edge/one", simple(443, "db.example", protocol="TLS")),
            opaque("edge/db", "one", tcp_routes=[{"route": [DB]}], host="db.example"),
        )
        chain = found.chains("0.0.0.0_443")["db.example"]
        assert tls(chain) and tcp(chain).cluster == "outbound|5432||db.example"

    def test_tls_that_ends_here_may_be_told_apart_by_its_routes(self) -> None:
        found = Front(
            gateway("edge/one", simple(443, "*.example", protocol="TLS")),
            opaque("edge/db", "one", tls_routes=[by_name("x.example")], host="x.example"),
        )
        chain = found.chains("0.0.0.0_443")["x.example"]
        assert chain.HasField("transport_socket")

    def test_tls_passes_through_by_server_name(self) -> None:
        found = Front(
            gateway("edge/one", server(443, "TLS", "*.example", mode="PASSTHROUGH")),
            opaque("edge/a", "one", tls_routes=[by_name("a.example", port=443)], host="a.example"),
            opaque(
                "edge/b", "one", tls_routes=[by_name("a.example", "x.example"), by_name("b.example")], host="*.example"
            ),
            opaque("edge/c", "one", tls_routes=[by_name("c.example", port=444)], host="c.example"),
            opaque("edge/d", "other", tls_routes=[by_name("d.example")], host="d.example"),
        )
        chains = found.chains("0.0.0.0_443")
        assert sorted(chains) == ["a.example", "b.example"]
        assert not any(c.HasField("transport_socket") for c in chains.values())
        (told,) = found.decisions()
        assert told.winner.name == "a" and [ref.name for ref in told.losers] == ["b"] and "a.example" in told.subject

    def test_without_a_route_there_is_no_listener(self) -> None:
        assert Front(gateway("edge/one", server(5432, "TCP"))).listeners() == []
        assert Front(gateway("edge/one", server(443, "TLS", "a.example", mode="PASSTHROUGH"))).listeners() == []

    def test_a_rule_of_another_namespace_needs_a_host_that_lets_it(self) -> None:
        rule = opaque("shop/db", "edge/one", tcp_routes=[{"route": [DB]}])
        assert Front(gateway("edge/one", server(5432, "TCP", "./*")), rule).listeners() == []
        assert Front(gateway("edge/one", server(5432, "TCP", "shop/*")), rule).listeners() == ["0.0.0.0_5432"]


class TestAutoPassthrough:
    GATEWAY = gateway("edge/cross", server(15443, "TLS", "*.local", mode="AUTO_PASSTHROUGH"))

    def test_each_service_and_subset_of_the_mesh_has_a_chain_and_a_cluster(self) -> None:
        found = Front(
            self.GATEWAY,
            web(),
            policy("shop/web", "web", subsets=[{"name": "v1", "labels": {"version": "v1"}}]),
            entry("shop/out", "out.example", location="MESH_EXTERNAL"),
        )
        names = [f"outbound_.8000_.{subset}_.web.shop.svc.cluster.local" for subset in ("", "v1")]
        chains = found.chains("0.0.0.0_15443")
        assert sorted(chains) == names
        assert [tcp(chains[name]).cluster for name in names] == names
        assert "istio" in chains[names[0]].filter_chain_match.application_protocols
        assert [name for name in found.clusters() if name.startswith("outbound_.")] == names

    def test_a_host_with_an_asterisk_has_none(self) -> None:
        wide = entry("shop/wide", "*.wild.local", (443, "TLS"), location="MESH_INTERNAL")
        assert sorted(Front(self.GATEWAY, web(), wide).chains("0.0.0.0_15443")) == [
            "outbound_.8000_._.web.shop.svc.cluster.local"
        ]

    def test_without_such_a_server_there_are_no_such_clusters(self) -> None:
        assert not [n for n in Front(web(), gateway("edge/one", server(80, "HTTP"))).clusters() if "_." in n]

    def test_only_endpoints_that_speak_mutual_tls_are_led_to(self) -> None:
        endpoints = [
            {"address": "10.8.0.1", "labels": {"security.istio.io/tlsMode": "istio"}},
            {"address": "10.8.0.2"},
        ]
        inside = entry("shop/in", "in.local", (80, "HTTP"), location="MESH_INTERNAL", endpoints=endpoints)
        found = Front(self.GATEWAY, inside)
        plain, unopened = (found.assignment(f"outbound{a}80{a}{a}in.local".replace("||", "||")) for a in ("|", "_."))
        assert len(plain.endpoints[0].lb_endpoints) == 2
        (left,) = unopened.endpoints[0].lb_endpoints
        assert left.endpoint.address.socket_address.address == "10.8.0.1"
        assert unopened.endpoints[0].load_balancing_weight.value == 1


class TestClusters:
    def test_a_gateway_has_clusters_for_all_it_sees_and_none_to_pass_on(self) -> None:
        found = Front(
            web(), entry("shop/hidden", "hidden.example", exportTo=["."]), gateway("edge/one", server(80, "HTTP"))
        )
        assert found.clusters() == ["BlackHoleCluster", "outbound|8000||web.shop.svc.cluster.local"]

    def test_what_has_no_known_address_for_sidecars_has_its_endpoints_here(self) -> None:
        found = Front(entry("shop/any", "any.example", resolution="NONE"), gateway("edge/one", server(80, "HTTP")))
        assert "outbound|80||any.example" in found.names(
            "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"
        )

    def test_a_sidecar_resource_is_nothing_to_it(self) -> None:
        narrow = made("Sidecar", "edge/default", egress=[{"hosts": ["~/*"]}])
        assert "outbound|8000||web.shop.svc.cluster.local" in Front(web(), narrow).clusters()

    def test_its_kind_is_not_a_sidecars(self) -> None:
        assert ProxyKind(namespace="a", dns_domain="d", router=True) != ProxyKind(namespace="a", dns_domain="d")

    def test_http_of_a_bound_rule_needs_no_listener_of_its_own(self) -> None:
        assert Front(web(), bound("shop/v", "w.example", "web", "edge/none")).listeners() == []
