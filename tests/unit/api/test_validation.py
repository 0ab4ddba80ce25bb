"""Istio's rules: the path and the words of what is refused or warned about.

Which objects are accepted at all is checked against Istio's own cases in tests/conformance/test_validation.py.
"""

from typing import Any

import pytest

from tidegate.api.decode import admit
from tidegate.api.kinds import KINDS
from tidegate.api.validation.names import regex_problem
from tidegate.kit.errors import InvalidObjectError

ROUTE = [{"destination": {"host": "web"}}]
TLS_PORT = {"number": 443, "name": "tls", "protocol": "TLS"}


def entry(**spec: Any) -> dict[str, Any]:
    ports = [{"number": 80, "name": "http", "protocol": "HTTP"}]
    return of("ServiceEntry", {"hosts": ["a.example.com"], "ports": ports, **spec})


def http(**route: Any) -> dict[str, Any]:
    return of("VirtualService", {"hosts": ["a.example.com"], "http": [{"route": ROUTE, **route}]})


def policy(**traffic: Any) -> dict[str, Any]:
    return of("DestinationRule", {"host": "web", "trafficPolicy": traffic})


def server(**more: Any) -> dict[str, Any]:
    port = {"number": 80, "name": "http", "protocol": "HTTP"}
    return of("Gateway", {"servers": [{"port": port, "hosts": ["a.com"], **more}]})


def of(kind: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": KINDS[kind].api_version,
        "kind": kind,
        "metadata": {"name": "web", "namespace": "shop"},
        "spec": spec,
    }


REFUSED = [
    (entry(hosts=["*"]), "spec.hosts[0]", "* alone is not allowed"),
    (entry(hosts=["a_b.com"]), "spec.hosts[0]", "label 'a_b' is not valid"),
    (entry(addresses=["10.0.0.0/33"]), "spec.addresses[0]", "IP address or a CIDR"),
    (entry(addresses=["10.0.0.0/8"], resolution="DNS"), "spec.addresses[0]", "resolution NONE or STATIC"),
    (entry(ports=[TLS_PORT, TLS_PORT]), "spec.ports[1].name", "unique"),
    (entry(ports=[{**TLS_PORT, "protocol": "QUIC"}]), "spec.ports[0].protocol", "must be one of GRPC"),
    (entry(endpoints=[{"address": "1.1.1.1"}]), "spec.endpoints", "resolution NONE has no endpoints"),
    (entry(resolution="STATIC", endpoints=[{"address": "a.com"}]), "spec.endpoints[0].address", "use DNS for names"),
    (
        entry(resolution="STATIC", endpoints=[{"address": "1.1.1.1", "ports": {"nope": 1}}]),
        "spec.endpoints[0].ports[nope]",
        "the name of one of the entry's ports",
    ),
    (entry(hosts=["*.a.com"], resolution="DNS"), "spec.hosts[0]", "looked up in DNS"),
    (
        entry(resolution="DNS_ROUND_ROBIN", endpoints=[{"address": "a.com"}, {"address": "b.com"}]),
        "spec.endpoints",
        "at most one endpoint",
    ),
    (entry(resolution="DYNAMIC_DNS"), "spec.hosts[0]", "needs a wildcard host"),
    (entry(exportTo=["*", "."]), "spec.exportTo", "* must stand alone"),
    (of("WorkloadEntry", {}), "spec.address", "address is required"),
    (of("WorkloadEntry", {"address": "unix://a"}), "spec.address", "absolute path"),
    (of("WorkloadGroup", {"template": {}, "probe": {"grpc": {"port": 1}}}), "spec.probe", "unknown health check"),
    (of("Sidecar", {}), "spec", "at least one of egress, ingress"),
    (of("Sidecar", {"egress": [{"hosts": ["a.com"]}]}), "spec.egress[0].hosts[0]", "namespace/dnsName"),
    (of("Sidecar", {"egress": [{"hosts": ["./a"]}]}), "spec.egress[0].hosts[0]", "have a dot"),
    (
        of("Sidecar", {"egress": [{"hosts": ["*/*"]}, {"hosts": ["*/*"], "port": TLS_PORT}]}),
        "spec.egress[0]",
        "must be the last",
    ),
    (
        of("Sidecar", {"ingress": [{"port": TLS_PORT, "defaultEndpoint": "10.0.0.1:80"}]}),
        "spec.ingress[0].defaultEndpoint",
        "must be 127.0.0.1:PORT",
    ),
    (
        of("Sidecar", {"outboundTrafficPolicy": {"egressProxy": {"host": "a.com", "port": {"number": 1}}}}),
        "spec.outboundTrafficPolicy.egressProxy",
        "needs mode ALLOW_ANY",
    ),
    (of("VirtualService", {"hosts": ["*"], "http": [{"route": ROUTE}]}), "spec.hosts[0]", "needs gateways"),
    (
        of("VirtualService", {"hosts": ["*.a.com", "b.a.com"], "http": [{"route": ROUTE}]}),
        "spec.hosts[1]",
        "must not overlap",
    ),
    (of("VirtualService", {"hosts": ["a.com"]}), "spec", "at least one of http, tls, tcp"),
    (of("VirtualService", {"http": [{"route": ROUTE}], "gateways": ["a/b"]}), "spec.gateways", "delegate"),
    (
        of("VirtualService", {"hosts": ["a.com"], "tls": [{"match": [{"sniHosts": ["b.com"]}], "route": ROUTE}]}),
        "spec.tls[0].match[0].sniHosts[0]",
        "one of the VirtualService's hosts",
    ),
    (http(timeout="0s"), "spec.http[0].timeout", "at least 1ms"),
    (http(timeout="1.0005s"), "spec.http[0].timeout", "whole milliseconds"),
    (http(redirect={"uri": "/"}), "spec.http[0].route", "together with redirect"),
    (http(retries={"attempts": 0, "retryOn": "5xx"}), "spec.http[0].retries.retryOn", "no effect"),
    (http(retries={"attempts": 1, "retryOn": "5xx,600"}), "spec.http[0].retries.retryOn", "'600' is not a status"),
    (http(fault={}), "spec.http[0].fault", "abort, delay or both"),
    (http(fault={"abort": {"httpStatus": 99}}), "spec.http[0].fault.abort.httpStatus", "200 to 600"),
    (http(fault={"delay": {"exponentialDelay": "1s"}}), "spec.http[0].fault.delay.exponentialDelay", "use fixedDelay"),
    (http(match=[{"uri": {"regex": "("}}]), "spec.http[0].match[0].uri.regex", "RE2 expression"),
    (http(match=[{"uri": {"regex": "(?=a)"}}]), "spec.http[0].match[0].uri.regex", "RE2 expression"),
    (http(match=[{"headers": {"a b": {"exact": "x"}}}]), "spec.http[0].match[0].headers[a b]", "header name"),
    (
        http(match=[{"headers": {"@request.auth.claims.a": {"exact": "x"}}}]),
        "spec.http[0].match[0].headers[@request.auth.claims.a]",
        "gateways only",
    ),
    (http(route=[*ROUTE, *ROUTE]), "spec.http[0].route", "more than 0"),
    (http(route=[{"weight": 1}]), "spec.http[0].route[0].destination", "required"),
    (http(mirror={"host": "a"}, mirrors=[{"destination": {"host": "b"}}]), "spec.http[0].mirrors", "with mirror"),
    (http(headers={"response": {"set": {"Host": "a"}}}), "spec.http[0].headers.response.set[Host]", "cannot be"),
    (http(headers={"request": {"set": {"a": "%B"}}}), "spec.http[0].headers.request.set[a]", "unfinished variable"),
    (
        http(rewrite={"authority": "a"}, headers={"request": {"set": {"Host": "b"}}}),
        "spec.http[0].headers.request.set[Host]",
        "set already at spec.http[0].rewrite.authority",
    ),
    (http(corsPolicy={"maxAge": "1.5s"}), "spec.http[0].corsPolicy.maxAge", "whole seconds"),
    (http(corsPolicy={"allowMethods": ["FETCH"]}), "spec.http[0].corsPolicy.allowMethods[0]", "must be one of"),
    (policy(), "spec.trafficPolicy", "at least one of its fields"),
    (policy(connectionPool={}), "spec.trafficPolicy.connectionPool", "at least one of http and tcp"),
    (policy(outlierDetection={"maxEjectionPercent": 101}), "spec.trafficPolicy.outlierDetection.max", "0 to 100"),
    (
        policy(loadBalancer={"consistentHash": {"useSourceIp": True, "maglev": {"tableSize": 100}}}),
        "spec.trafficPolicy.loadBalancer.consistentHash.maglev.tableSize",
        "prime number",
    ),
    (
        policy(loadBalancer={"localityLbSetting": {"distribute": [{"from": "a", "to": {"a": 50}}]}}),
        "spec.trafficPolicy.loadBalancer.localityLbSetting.distribute[0].to",
        "add up to 100 (got 50)",
    ),
    (policy(tls={"mode": "MUTUAL"}), "spec.trafficPolicy.tls.clientCertificate", "needs a client certificate"),
    (
        policy(tunnel={"targetHost": "a.com", "targetPort": 1, "protocol": "GET"}),
        "spec.trafficPolicy.tunnel.protocol",
        "CONNECT or POST",
    ),
    (policy(portLevelSettings=[{}]), "spec.trafficPolicy.portLevelSettings[0].port", "which port"),
    (of("DestinationRule", {"host": "a", "subsets": [{"name": "x"}, {"name": "x"}]}), "spec.subsets[1].name", "unique"),
    (of("Gateway", {}), "spec.servers", "at least one server"),
    (server(hosts=["a"]), "spec.servers[0].hosts[0]", "have a dot"),
    (server(tls={"mode": "SIMPLE"}), "spec.servers[0].tls", "use protocol HTTPS"),
    (
        server(port={"number": 443, "name": "a", "protocol": "HTTPS"}),
        "spec.servers[0].tls",
        "TLS or HTTPS needs TLS settings",
    ),
]


@pytest.mark.parametrize(("raw", "path", "words"), REFUSED, ids=[f"{r['kind']}-{p}" for r, p, _ in REFUSED])
def test_what_is_refused(raw: dict[str, Any], path: str, words: str) -> None:
    with pytest.raises(InvalidObjectError) as caught:
        admit(raw)
    texts = [str(e) for e in caught.value.errors]
    assert any(text.startswith(path) and words in text for text in texts), texts


WARNED = [
    (entry(hosts=["*a.com"]), "spec.hosts[0]: '*a.com' is a partial wildcard"),
    (entry(ports=[{"number": 80, "name": "a"}]), "spec.ports[0]: without addresses TCP traffic"),
    (entry(resolution="STATIC", workloadSelector={"labels": {}}), "spec.workloadSelector.labels: selects every"),
    (of("WorkloadEntry", {"network": "n"}), "spec.address: address is not set"),
    (of("Sidecar", {"egress": [{"hosts": ["./*", "./a.com"]}]}), "spec.egress[0].hosts[1]: ./* covers"),
    (http(mirrorPercent=5), "spec.http[0].mirrorPercent: is deprecated"),
    (http(fault={"abort": {}}), "spec.http[0].fault.abort: no error is set"),
    (http(fault={"delay": {}}), "spec.http[0].fault.delay: no delay is set"),
    (
        of("VirtualService", {"hosts": ["a.com"], "http": [{"route": ROUTE}, {"route": ROUTE}]}),
        "spec.http[1]: is never reached: spec.http[0] has no match",
    ),
    (
        http(match=[{"uri": {"prefix": "/a"}}, {"uri": {"prefix": "/ab"}}]),
        "spec.http[0].match[1]: is not used: spec.http[0].match[0] matches the same",
    ),
    (
        policy(loadBalancer={"localityLbSetting": {"failover": [{"from": "a", "to": "b"}]}}),
        "spec.trafficPolicy.loadBalancer.localityLbSetting: failover needs outlierDetection",
    ),
    (
        policy(outlierDetection={"consecutiveErrors": 1}),
        "spec.trafficPolicy.outlierDetection.consecutiveErrors: is dep",
    ),
]


@pytest.mark.parametrize(("raw", "text"), WARNED, ids=[text.split(":")[0] for _, text in WARNED])
def test_what_is_warned_about(raw: dict[str, Any], text: str) -> None:
    found = admit(raw).warnings
    assert any(warning.startswith(text) for warning in found), found


def test_an_earlier_prefix_with_other_conditions_takes_nothing() -> None:
    matches = [{"uri": {"prefix": "/a"}, "method": {"exact": "GET"}}, {"uri": {"prefix": "/ab"}}]
    assert admit(http(match=matches)).warnings == ()


@pytest.mark.parametrize(
    ("hosts", "covered"),
    [
        (["a.com", "*.com"], 0),
        (["*.com", "a.com"], 1),
        (["*.a.com", "*.com"], 0),
        (["a.com", "b.com", "A.com"], 2),
        (["x.a.com", "*a.com"], 0),
    ],
)
def test_the_covered_host_is_named(hosts: list[str], covered: int) -> None:
    with pytest.raises(InvalidObjectError) as caught:
        admit(of("VirtualService", {"hosts": hosts, "http": [{"route": ROUTE}]}))
    assert [e.path for e in caught.value.errors] == [f"spec.hosts[{covered}]"]


def test_many_hosts_do_not_meet_each_other() -> None:
    hosts = ["a.com", "*.a.com", "b.a.org", "*.b.a.org", "1.2.3.4"]
    assert admit(of("VirtualService", {"hosts": hosts, "http": [{"route": ROUTE}]})).warnings == ()


def test_reserved_annotations_are_refused() -> None:
    raw = entry()
    raw["metadata"]["annotations"] = {"internal.istio.io/webhook-always-reject": "true"}
    with pytest.raises(InvalidObjectError, match="reserved for internal use"):
        admit(raw)


@pytest.mark.parametrize(("text", "valid"), [("a+", True), (r"\d{2}", True), (r"(a)\1", False), ("(?!a)", False)])
def test_expressions_are_re2s(text: str, valid: bool) -> None:
    assert (regex_problem(text) is None) is valid
