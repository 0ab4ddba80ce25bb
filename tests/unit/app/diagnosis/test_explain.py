"""One connection explained from manifests: each class of outcome, the object that decides, its line, and who lost."""

from pathlib import Path
from typing import Any

import pytest

from tidegate.answer.question import Question
from tidegate.answer.report import Report
from tidegate.app.diagnosis.explain import explain, scene
from tidegate.app.offline import proxyspec
from tidegate.app.offline.manifests import parse
from tidegate.app.offline.world import Settings, build

CLIENT = """
apiVersion: v1
kind: Pod
metadata: {name: client, namespace: shop, labels: {app: client}%s}
spec: {containers: [{name: app}]}
status: {phase: Running, podIP: 10.8.0.1, conditions: [{type: Ready, status: "True"}]}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data:
  mesh: |
    outboundTrafficPolicy: {mode: %s}
"""


def pod(name: str, address: str, *, annotations: str = "") -> str:
    return f"""---
apiVersion: v1
kind: Pod
metadata: {{name: {name}, namespace: shop, labels: {{app: {name}}}, annotations: {{{annotations}}}}}
spec: {{containers: [{{name: app}}]}}
status: {{phase: Running, podIP: {address}, conditions: [{{type: Ready, status: "True"}}]}}
"""


def service(name: str, port: str, address: str = "10.96.0.10", namespace: str = "shop") -> str:
    return f"""---
apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: {namespace}}}
spec: {{clusterIP: {address}, selector: {{app: {name}}}, ports: [{{{port}}}]}}
"""


def entry(name: str, host: str, port: str, rest: str = "resolution: DNS", namespace: str = "shop") -> str:
    return f"""---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: {name}, namespace: {namespace}}}
spec:
  hosts: [{host}]
  ports: [{{{port}}}]
  {rest}
"""


def istio(kind: str, name: str, spec: str, namespace: str = "shop", group: str = "networking") -> str:
    return f"""---
apiVersion: {group}.istio.io/v1
kind: {kind}
metadata: {{name: {name}, namespace: {namespace}}}
spec: {spec}
"""


HTTP, TCP, TLS = (
    "number: 80, name: http, protocol: HTTP",
    "number: 6379, name: tcp, protocol: TCP",
    "number: 443, name: tls, protocol: TLS",
)


def said(
    *documents: str, policy: str = "ALLOW_ANY", annotations: str = "", proxy: str = "client", **asked: Any
) -> Report:
    given = parse(
        CLIENT % (f", annotations: {{{annotations}}}" if annotations else "", policy) + "".join(documents), "w.yaml"
    )
    world = build(given)
    assert not [f for f in world.findings if f.severity.value == "error" and "refused" not in asked], world.findings
    asked.pop("refused", None)
    question = {"port": 80, **asked}
    return explain(scene(world, given, proxyspec.choose(world.hub.world, proxy)), Question(**question))


def test_an_undeclared_host_passes_through_and_the_mesh_policy_decides() -> None:
    found = said(to="example.org", port=443, protocol="https")
    assert (found.outcome, found.cluster) == ("passthrough", "PassthroughCluster")
    assert found.deciding_object == "MeshConfig/outboundTrafficPolicy"
    assert found.at == "w.yaml:13", "the line of the mesh configuration inside its ConfigMap"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("trustDomain: td\noutboundTrafficPolicy:\n  mode: REGISTRY_ONLY\n", 2),
        (
            "kind: ConfigMap\ndata:\n  mesh: |\n    rootNamespace: r\n    outboundTrafficPolicy: {mode: REGISTRY_ONLY}",
            5,
        ),
    ],
)
def test_a_setting_of_the_mesh_configuration_file_is_pointed_at_there(text: str, line: int, tmp_path: Path) -> None:
    mesh = tmp_path / "mesh.yaml"
    mesh.write_text(text)
    given = parse(CLIENT % ("", "ALLOW_ANY"), "w.yaml")
    world = build(given, Settings(mesh_config=mesh))
    question = Question(to="example.org", port=443, protocol="https")
    found = explain(scene(world, given, proxyspec.choose(world.hub.world, "client")), question)
    assert (found.outcome, found.at) == ("blackhole", f"{mesh}:{line}")


def test_registry_only_closes_tcp_and_answers_http_where_a_listener_is() -> None:
    assert said(policy="REGISTRY_ONLY", to="example.org", port=6379, protocol="tcp").outcome == "blackhole"
    found = said(service("web", "port: 80, name: http"), policy="REGISTRY_ONLY", to="example.org")
    assert (found.outcome, found.http_status) == ("direct_response", 502)


def test_what_is_reached_names_the_object_and_its_line() -> None:
    found = said(service("web", "port: 80, name: http"), pod("web", "10.8.0.2"), to="web")
    assert (found.outcome, found.deciding_object) == ("reaches", "Service/shop/web")
    assert found.ends[0].endpoints == ("10.8.0.2:80",)
    assert [step.stage for step in found.steps][:3] == ["name", "packet_rules", "listener"]
    assert next(s for s in found.steps if s.stage == "cluster").at.startswith("w.yaml:")


def test_an_entry_without_address_takes_the_whole_port_and_is_named() -> None:
    found = said(entry("cache-a", "cache-a.example.net", TCP), to="cache-b.example.net", port=6379, protocol="tcp")
    assert (found.outcome, found.deciding_object) == ("captured_by_other", "ServiceEntry/shop/cache-a")


def test_a_virtual_service_that_sends_its_host_elsewhere_captures_nothing() -> None:
    elsewhere = istio(
        "VirtualService", "api", "{hosts: [api.example.com], http: [{route: [{destination: {host: web}}]}]}"
    )
    found = said(service("web", "port: 80, name: http"), pod("web", "10.8.0.2"), elsewhere, to="api.example.com")
    assert (found.outcome, found.deciding_object) == ("reaches", "VirtualService/shop/api")


def test_tls_wrapped_in_tls_is_the_fault_of_the_destination_rule() -> None:
    rule = istio("DestinationRule", "www", "{host: www.example.com, trafficPolicy: {tls: {mode: SIMPLE}}}")
    found = said(entry("www", "www.example.com", TLS), rule, to="www.example.com", port=443, protocol="https")
    assert (found.outcome, found.deciding_object) == ("tls_mismatch", "DestinationRule/shop/www")
    assert found.field == "spec.trafficPolicy.tls"


def test_plain_http_to_a_tls_endpoint_without_origination_is_a_mismatch() -> None:
    ported = entry("www", "www.example.com", f"{HTTP}, targetPort: 443")
    assert said(ported, to="www.example.com").outcome == "tls_mismatch"
    rule = istio("DestinationRule", "www", "{host: www.example.com, trafficPolicy: {tls: {mode: SIMPLE}}}")
    found = said(ported, rule, to="www.example.com")
    assert (found.outcome, found.ends[0].upstream_tls["mode"]) == ("reaches", "tls")


def test_a_subset_that_nobody_defines_where_the_proxy_looks() -> None:
    route = istio("VirtualService", "web", "{hosts: [web], http: [{route: [{destination: {host: web, subset: v2}}]}]}")
    away = istio(
        "DestinationRule", "web", "{host: web.shop.svc.cluster.local, subsets: [{name: v2, labels: {v: '2'}}]}", "third"
    )
    found = said(service("web", "port: 80, name: http"), route, away, to="web")
    assert (found.outcome, found.deciding_object) == ("no_cluster", "DestinationRule/third/web")


def test_no_endpoints_no_route_and_a_fault() -> None:
    alone = service("web", "port: 80, name: http")
    assert said(alone, to="web").outcome == "no_endpoints"
    narrow = "{hosts: [web], http: [{match: [{uri: {prefix: /v2}}], route: [{destination: {host: web}}]}]}"
    found = said(alone, istio("VirtualService", "web", narrow), to="web", path="/v1")
    assert (found.outcome, found.deciding_object, found.http_status) == ("no_route", "VirtualService/shop/web", 404)
    fault = "fault: {abort: {httpStatus: 555, percentage: {value: 25}}}"
    spec = "{hosts: [web], http: [{" + fault + ", route: [{destination: {host: web}}]}]}"
    ends = said(alone, pod("web", "10.8.0.2"), istio("VirtualService", "web", spec), to="web").ends
    assert {end.kind: end.probability for end in ends} == {"forwarded": 0.75, "direct_response": 0.25}


def test_a_server_that_speaks_first_meets_detection_that_never_ends() -> None:
    found = said(
        service("db", "port: 3306, name: mysql"), pod("db", "10.8.0.3"),
        proxy="db", to="10.8.0.3", port=3306, protocol="tcp", server_first=True, direction="inbound",
    )  # fmt: skip
    assert (found.outcome, found.deciding_object) == ("hangs", "Default/mtls-permissive")


@pytest.mark.parametrize(
    ("name", "value", "to"),
    [
        ("excludeOutboundIPRanges", "203.0.113.0/24", "203.0.113.9"),
        ("excludeOutboundPorts", "80", "203.0.113.9"),
        ("includeOutboundIPRanges", "10.0.0.0/8", "203.0.113.9"),
    ],
)
def test_what_never_enters_the_proxy_is_told_with_the_annotation(name: str, value: str, to: str) -> None:
    found = said(annotations=f'traffic.sidecar.istio.io/{name}: "{value}"', to=to)
    assert (found.outcome, found.deciding_object) == ("not_intercepted", "Pod/shop/client")
    assert found.field == f"metadata.annotations[traffic.sidecar.istio.io/{name}]"
    assert found.at == "w.yaml:4"


def test_the_proxys_own_user_is_not_intercepted_and_udp_never_is() -> None:
    assert said(to="203.0.113.9", user=1337).outcome == "not_intercepted"
    assert said(to="203.0.113.9", port=53, protocol="udp").outcome == "not_intercepted"


def test_an_address_that_only_the_mesh_gave_out_answers_nobody() -> None:
    assert said(to="240.240.0.9", port=5432, protocol="tcp").outcome == "upstream_unreachable"


def test_failover_without_outlier_detection_never_happens() -> None:
    ends = (
        "resolution: STATIC\n  endpoints: [{address: 10.9.0.1, locality: r1/z1}, {address: 10.9.0.2, locality: r2/z1}]"
    )
    setting = "localityLbSetting: {failover: [{from: r1, to: r2}]}"
    rule = "{host: far.example.com, trafficPolicy: {loadBalancer: {" + setting + "}%s}}"
    asked = {"to": "far.example.com"}
    found = said(entry("far", "far.example.com", HTTP, ends), istio("DestinationRule", "far", rule % ""), **asked)
    assert (found.outcome, found.deciding_object) == ("no_failover", "DestinationRule/shop/far")
    detecting = rule % ", outlierDetection: {consecutive5xxErrors: 3}"
    found = said(entry("far", "far.example.com", HTTP, ends), istio("DestinationRule", "far", detecting), **asked)
    assert found.outcome == "reaches"


def test_a_refused_object_is_named_where_its_host_is_missed() -> None:
    bad = entry("hooks", "'*.hooks.example.com'", TLS)
    found = said(bad, policy="REGISTRY_ONLY", refused=True, to="a.hooks.example.com", port=443, protocol="https")
    assert (found.outcome, found.deciding_object) == ("blackhole", "ServiceEntry/shop/hooks")
    assert "not valid" in found.reasons[0].words


def test_who_lost_is_told_with_the_rule_that_chose() -> None:
    first = entry("one", "one.example.com", TCP)
    second = entry("two", "two.example.com", TCP)
    found = said(first, second, to="two.example.com", port=6379, protocol="tcp")
    lost = [each for step in found.steps if step.stage == "listener" for each in step.lost]
    assert any(each.what == "ServiceEntry/shop/two" and each.at for each in lost), lost


def test_names_and_ports_that_cannot_be_are_refused_in_words() -> None:
    with pytest.raises(Exception, match=r"to: must have a port from 1 to 65535 \(got 0\)"):
        said(to="example.org", port=0)
    with pytest.raises(Exception, match=r"ip: must be an IP address \(got 'here'\)"):
        said(to="example.org", ip="here")


def test_a_policy_that_refuses_is_named_whether_it_matches_or_nobody_allows() -> None:
    served = (service("web", "port: 80, name: http"), pod("web", "10.8.0.2"))
    deny = istio(
        "AuthorizationPolicy",
        "denying",
        "{action: DENY, rules: [{to: [{operation: {paths: [/a]}}]}]}",
        group="security",
    )
    allow = istio("AuthorizationPolicy", "allowing", "{rules: [{to: [{operation: {paths: [/b]}}]}]}", group="security")
    asked: dict[str, Any] = {"proxy": "web", "to": "10.8.0.2", "direction": "inbound", "host": "web"}
    found = said(*served, deny, **asked, path="/a")
    assert (found.outcome, found.deciding_object) == ("rejected_by_policy", "AuthorizationPolicy/shop/denying")
    found = said(*served, allow, **asked, path="/a")
    assert (found.outcome, found.deciding_object) == ("rejected_by_policy", "AuthorizationPolicy/shop/allowing")
    assert said(*served, deny, allow, **asked, path="/b").outcome == "reaches"


def test_plain_text_under_strict_is_told_at_both_ends() -> None:
    strict = istio("PeerAuthentication", "all", "{mtls: {mode: STRICT}}", group="security")
    served = (service("web", "port: 80, name: http"), pod("web", "10.8.0.2"), strict)
    found = said(*served, proxy="web", to="10.8.0.2", direction="inbound", host="web")
    assert found.deciding_object == "PeerAuthentication/shop/all"
    assert found.outcome in ("no_route", "tls_mismatch")


def test_a_server_that_speaks_first_on_a_sniffed_port_waits_for_its_service() -> None:
    found = said(
        service("db", "port: 7777, name: oddly"), pod("db", "10.8.0.3"),
        to="db", port=7777, protocol="tcp", server_first=True,
    )  # fmt: skip
    assert (found.outcome, found.deciding_object) == ("hangs", "Service/shop/db")


def test_a_port_that_is_declared_http_refuses_other_bytes_by_its_service() -> None:
    found = said(service("web", "port: 6379, name: http"), pod("web", "10.8.0.2"), to="web", port=6379, protocol="tcp")
    assert found.deciding_object in ("Service/shop/web", "MeshConfig/outboundTrafficPolicy")


def test_inbound_ports_that_are_not_included_are_not_intercepted() -> None:
    quiet = pod("web", "10.8.0.2", annotations='traffic.sidecar.istio.io/includeInboundPorts: "9999"')
    found = said(quiet, proxy="web", to="10.8.0.2", direction="inbound")
    assert (found.outcome, found.deciding_object) == ("not_intercepted", "Pod/shop/web")
    assert found.field.endswith("[traffic.sidecar.istio.io/includeInboundPorts]")
