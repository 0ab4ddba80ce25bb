"""How a connection comes to its proxy: by which interception mode, address family and address of a name."""

from typing import Any

import pytest

from tests.certificates import Authority
from tests.unit.app.diagnosis.test_explain import HTTP, TCP, entry, istio, service
from tidegate.answer.question import Question
from tidegate.answer.report import Report
from tidegate.api.yamltext import read_yaml
from tidegate.app.diagnosis.explain import Scene, explain, scene
from tidegate.app.offline import proxyspec
from tidegate.app.offline.manifests import Document, Manifests, parse
from tidegate.app.offline.world import Settings, build
from tidegate.rules.saved import read_saved

POD = """---
apiVersion: v1
kind: Pod
metadata: {name: client, namespace: shop, labels: {app: client}, annotations: {%s}}
spec: {containers: [{name: app}]}
status: {phase: Running, podIP: "%s", podIPs: [%s], conditions: [{type: Ready, status: "True"}]}
"""
FOUR, SIX = "10.8.0.1", "fd00::1"
ANSWERS = "proxy.istio.io/config: \"proxyMetadata: {ISTIO_META_DNS_CAPTURE: 'true'}\""
MODE = "sidecar.istio.io/interceptionMode"
ALLOCATED = """---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: db, namespace: shop}
spec: {hosts: [db.example.com], ports: [{number: 6379, name: tcp, protocol: TCP}], resolution: DNS}
status: {addresses: [{host: db.example.com, value: 240.240.0.5}, {host: db.example.com, value: "2001:2::5"}]}
"""


def prepared(
    *documents: str, ips: tuple[str, ...] = (FOUR,), annotations: str = "", mesh: str = "{}", **given: Any
) -> Scene:
    listed = ", ".join(f'{{ip: "{each}"}}' for each in ips)
    text = POD % (annotations, ips[0], listed) + "".join(documents)
    text += "---\n{apiVersion: v1, kind: ConfigMap, metadata: {name: istio, namespace: istio-system}, "
    text += f"data: {{mesh: '{mesh}'}}}}\n"
    found = parse(text, "w.yaml")
    world = build(found, Settings(variables={"ISTIO_DUAL_STACK": "true"}))
    return scene(world, found, proxyspec.choose(world.hub.world, "client"), **given)


def asked(way: Scene, to: str, port: int = 80, **question: Any) -> Report:
    return explain(way, Question(to=to, port=port, **question))


class TestFamilies:
    def test_ipv6_goes_through_the_rules_of_its_family(self) -> None:
        way = prepared(ips=(FOUR, SIX), annotations="traffic.sidecar.istio.io/excludeOutboundIPRanges: '2001:db8::/32'")
        found = asked(way, "2001:db8::7")
        assert found.outcome == "not_intercepted"
        assert "[2001:db8::7]:80" in found.verdict and "2001:db8::/32 are excluded" in found.verdict
        assert found.field == "metadata.annotations[traffic.sidecar.istio.io/excludeOutboundIPRanges]"
        assert asked(way, "2001:db9::7").outcome == "passthrough"

    def test_a_family_without_rules_counts_as_captured(self) -> None:
        listing = "*nat\n-A OUTPUT -p tcp -j RETURN\nCOMMIT\n"
        way = prepared(ips=(FOUR, SIX), rules=read_saved(listing))
        assert asked(way, "198.51.100.7").outcome == "not_intercepted"
        assert asked(way, "2001:db8::7").outcome == "passthrough"

    @pytest.mark.parametrize(("ips", "dialled"), [((FOUR, SIX), "10.96.0.10"), ((SIX,), "fd00:96::10")])
    def test_a_service_is_dialled_in_the_workloads_own_family(self, ips: tuple[str, ...], dialled: str) -> None:
        dual = service("web", "port: 80, name: http").replace(
            "clusterIP: 10.96.0.10", 'clusterIP: 10.96.0.10, clusterIPs: [10.96.0.10, "fd00:96::10"]'
        )
        assert asked(prepared(dual, ips=ips), "web.shop").address == dialled


class TestNames:
    def test_the_proxys_name_server_gives_all_addresses(self) -> None:
        found = asked(prepared(ALLOCATED, ips=(FOUR, SIX), annotations=ANSWERS), "db.example.com", 6379, protocol="tcp")
        assert found.address == "240.240.0.5"
        assert found.steps[0].words.startswith("db.example.com is 240.240.0.5 (or 2001:2::5), allocated to")
        assert found.outcome == "reaches" and not found.other_addresses

    def test_an_address_at_which_it_ends_otherwise_is_told(self) -> None:
        past = "traffic.sidecar.istio.io/excludeOutboundIPRanges: '2001:2::/48'"
        way = prepared(ALLOCATED, ips=(FOUR, SIX), annotations=f"{ANSWERS}, {past}")
        (other,) = asked(way, "db.example.com", 6379, protocol="tcp").other_addresses
        assert (other.address, other.outcome) == ("2001:2::5", "not_intercepted")
        assert other.deciding_object == "Pod/shop/client"

    def test_the_meshs_default_makes_every_proxy_answer(self) -> None:
        default = '{defaultConfig: {proxyMetadata: {ISTIO_META_DNS_CAPTURE: "true"}}}'
        assert asked(prepared(ALLOCATED, mesh=default), "db.example.com", 6379, protocol="tcp").address == "240.240.0.5"
        assert asked(prepared(ALLOCATED), "db.example.com", 6379, protocol="tcp").address != "240.240.0.5"

    def test_a_name_that_the_proxy_does_not_see_is_not_answered(self) -> None:
        hidden = istio("Sidecar", "default", '{egress: [{hosts: ["shop/other.example.com"]}]}')
        found = asked(prepared(ALLOCATED, hidden, annotations=ANSWERS), "db.example.com", 6379, protocol="tcp")
        assert found.address != "240.240.0.5"


class TestModes:
    def test_without_interception_nothing_comes_to_the_proxy(self) -> None:
        found = asked(prepared(annotations=f"{MODE}: NONE"), "example.org")
        assert (found.outcome, found.field) == ("not_intercepted", f"metadata.annotations[{MODE}]")
        assert "no packet rule takes it" in found.verdict

    def test_without_interception_the_proxy_is_called_where_it_listens(self) -> None:
        listener = "bind: 127.0.0.1, captureMode: NONE, port: {number: 7000, name: http, protocol: HTTP}"
        bound, port = f'{{egress: [{{{listener}, hosts: ["*/*"]}}]}}', "number: 7000, name: http, protocol: HTTP"
        way = prepared(
            entry("one", "one.example.com", port), istio("Sidecar", "default", bound), annotations=f"{MODE}: NONE"
        )
        found = asked(way, "127.0.0.1", 7000, host="one.example.com")
        assert (found.listener, found.cluster) == ("127.0.0.1_7000", "outbound|7000||one.example.com")

    def test_the_meshs_http_proxy_is_called_past_the_packet_rules(self) -> None:
        way = prepared(entry("one", "one.example.com", HTTP), mesh="{proxyHttpPort: 15080}")
        found = asked(way, "127.0.0.1", 15080, host="one.example.com")
        assert found.cluster == "outbound|80||one.example.com"
        assert any(step.stage == "packet_rules" and "by no proxy" in step.words for step in found.steps)

    def test_the_mode_is_the_meshs_where_the_pod_says_none(self) -> None:
        found = asked(prepared(mesh="{defaultConfig: {interceptionMode: TPROXY}}"), FOUR, 8080, direction="inbound")
        assert any("with its addresses kept" in step.words for step in found.steps)

    def test_loopback_cannot_answer_a_caller_whose_address_is_kept(self) -> None:
        def ingress(endpoint: str) -> str:
            port = "{number: 8080, name: http, protocol: HTTP}"
            spec = f'{{egress: [{{hosts: ["*/*"]}}], ingress: [{{port: {port}, defaultEndpoint: "{endpoint}"}}]}}'
            return istio("Sidecar", "default", spec)

        kept = {"annotations": f"{MODE}: TPROXY"}
        called = {"port": 8080, "direction": "inbound", "source_ip": "10.8.0.9"}
        found = asked(prepared(ingress("127.0.0.1:8081"), **kept), FOUR, **called)
        assert (found.outcome, found.deciding_object) == ("upstream_unreachable", "Sidecar/shop/default")
        assert asked(prepared(ingress("0.0.0.0:8081"), **kept), FOUR, **called).outcome == "reaches"
        assert asked(prepared(ingress("127.0.0.1:8081")), FOUR, **called).outcome == "reaches"


GATEWAY = """---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: edge, namespace: shop}
spec:
  selector: {app: client}
  servers:
  - {port: {number: 443, name: https, protocol: HTTPS}, hosts: ["*"], tls: {mode: SIMPLE, credentialName: %s}}
"""


class TestSecrets:
    @staticmethod
    def gateway(credential: str, *secrets: dict[str, Any]) -> Report:
        text = POD % ("inject.istio.io/templates: gateway", FOUR, f"{{ip: {FOUR}}}") + GATEWAY % credential
        found = parse(text, "w.yaml")
        found = Manifests((*found.documents, *(Document(each, "secrets.yaml") for each in secrets)))
        world = build(found)
        way = scene(world, found, proxyspec.choose(world.hub.world, "client"))
        return asked(way, "a.example.com", 443, protocol="https")

    def test_a_credential_that_is_not_there_ends_the_handshake(self) -> None:
        there = Authority().issue("a.example.com").secret("cert", "shop")
        found = self.gateway("missing", there)
        assert (found.outcome, found.deciding_object) == ("tls_mismatch", "Gateway/shop/edge")
        assert "kubernetes://missing was never delivered" in found.verdict
        assert self.gateway("cert", there).outcome != "tls_mismatch"

    def test_manifests_without_secrets_are_taken_to_have_them_elsewhere(self) -> None:
        assert self.gateway("missing").outcome != "tls_mismatch"


def test_objects_that_were_not_read_from_text_have_no_line() -> None:
    raw = read_yaml(entry("db", "db.example.com", TCP).removeprefix("---\n"))
    place = Document(raw, "<somewhere>").place("spec.hosts")
    assert (place.file, place.line) == ("<somewhere>", 0)
