"""What is valid and most likely not meant is told with its line; what may be meant is not."""

import pytest

from tidegate.app.offline.manifests import parse
from tidegate.app.offline.pitfalls import pitfalls
from tidegate.app.offline.world import build

ISTIO = "apiVersion: networking.istio.io/v1\n"
WEB = """
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {clusterIP: 10.96.0.7, selector: {app: web}, ports: [{name: http, port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: shop, labels: {app: web, security.istio.io/tlsMode: istio}}
spec: {containers: [{name: app, ports: [{containerPort: 8080}]}]}
"""
RAW = WEB.replace("name: http,", "name: tcp,")
INGRESS = """
apiVersion: v1
kind: Pod
metadata:
  name: ingress
  namespace: edge
  labels: {istio: ingress}
  annotations: {inject.istio.io/templates: gateway}
spec: {containers: [{name: istio-proxy}]}
"""


def rule(spec: str, kind: str = "VirtualService", name: str = "shop/web") -> str:
    namespace, _, own = name.partition("/")
    return f"---\n{ISTIO}kind: {kind}\nmetadata: {{name: {own}, namespace: {namespace}}}\nspec: {spec}\n"


def policy(kind: str, spec: str, name: str = "shop/web") -> str:
    return rule(spec, kind, name).replace("networking.istio.io", "security.istio.io")


def entry(port: str, more: str = "resolution: DNS") -> str:
    return rule(f"{{hosts: [x.example.com], {more}, ports: [{port}]}}", "ServiceEntry", "shop/x")


GATEWAY = rule(
    "{selector: {istio: ingress}, servers: [{port: {number: 443, name: tls, protocol: TLS}, hosts: [a.example.com],"
    " tls: {mode: PASSTHROUGH}}]}",
    "Gateway",
    "edge/gw",
)
ROUTE = "http: [{route: [{destination: {host: web.shop.svc.cluster.local}}]}]"
STRICT = policy("PeerAuthentication", "{mtls: {mode: STRICT}}", "istio-system/default")
OFF = rule("{host: web, trafficPolicy: {tls: {mode: DISABLE}}}", "DestinationRule")


def told(text: str) -> list[str]:
    return [f"{each.line} {each.field}: {each.message}" for each in pitfalls(build(parse(text, "w.yaml")))]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (RAW + rule(f"{{hosts: [web], {ROUTE}}}"), "spec.http: HTTP routes do nothing in sidecars"),
        (
            WEB + rule(f"{{hosts: [web], {ROUTE}}}", name="ops/web"),
            "web.shop.svc.cluster.local is: write the full name",
        ),
        (
            WEB + rule("{hosts: [web], http: [{route: [{destination: {host: web, port: {number: 8080}}}]}]}"),
            "has no port 8080 (it has 80)",
        ),
        (WEB + GATEWAY + rule(f"{{hosts: [a.example.com], gateways: [gw], {ROUTE}}}"), "write edge/gw"),
        (WEB + GATEWAY + rule(f"{{hosts: [b.example.com], gateways: [edge/gw], {ROUTE}}}"), "no server of"),
        (WEB + GATEWAY + rule(f"{{hosts: [a.example.com], gateways: [edge/gw], {ROUTE}}}"), "passes TLS through"),
        (INGRESS + GATEWAY.replace("istio: ingress}", "istio: other}"), "spec.selector: means none of the gateways'"),
        (WEB.replace("targetPort: 8080", "targetPort: 8081"), "targetPort: no container of Pod/shop/web declares"),
        (WEB + rule("{host: web, subsets: [{name: v2, labels: {version: v2}}]}", "DestinationRule"), "version=v2"),
        (entry("{number: 80, name: http, protocol: HTTP}", "resolution: STATIC"), "STATIC and no endpoints"),
        (entry("{number: 443, name: http, protocol: HTTP}"), "port 443 is declared HTTP"),
        (entry("{number: 443, name: tcp, protocol: TCP}"), "it takes every connection to port 443"),
        (WEB + STRICT + OFF, "DISABLE sends plain text"),
        (
            WEB
            + policy(
                "PeerAuthentication", "{selector: {matchLabels: {app: web}}, portLevelMtls: {80: {mode: STRICT}}}"
            ),
            "spec.portLevelMtls: 80 is the Service's port",
        ),
        (
            WEB
            + policy(
                "AuthorizationPolicy",
                "{selector: {matchLabels: {app: web}}, rules: [{to: [{operation: {ports: ['80']}}]}]}",
            ),
            "spec.rules[0].to: 80 is the Service's port",
        ),
        (
            RAW
            + policy(
                "AuthorizationPolicy",
                "{selector: {matchLabels: {app: web}}, rules: [{to: [{operation: {methods: [GET]}}]}]}",
            ),
            "the workload has TCP ports only",
        ),
        (
            WEB.replace("istio}}", "istio}, annotations: {traffic.sidecar.istio.io/excludeInboundPorts: '8080'}}"),
            "speak mutual TLS to it, which nobody reads",
        ),
        (WEB.replace("[{name: app,", "[{name: app, securityContext: {runAsUser: 1337},"), "1337 is the proxy's own"),
        (
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d, namespace: shop,"
            " annotations: {traffic.sidecar.istio.io/excludeOutboundPorts: '5432'}}\nspec: {selector: {matchLabels:"
            " {app: d}}, template: {metadata: {labels: {app: d}}, spec: {containers: [{name: app, image: a}]}}}",
            "does nothing here: Pods take it from spec.template.metadata.annotations",
        ),
    ],
)
def test_what_is_most_likely_not_meant_is_told(text: str, words: str) -> None:
    found = told(text)
    assert len(found) == 1, found
    assert words in found[0]
    assert int(found[0].split()[0]) > 0


@pytest.mark.parametrize(
    "text",
    [
        WEB,
        WEB + rule(f"{{hosts: [web], {ROUTE}}}"),
        rule("{hosts: [elsewhere], http: [{route: [{destination: {host: elsewhere}}]}]}"),
        rule(f"{{hosts: [a.example.com], gateways: [other/gw], {ROUTE}}}"),
        GATEWAY,
        INGRESS + GATEWAY,
        WEB + OFF,
        WEB + STRICT,
        entry("{number: 443, name: tcp, protocol: TCP}", "addresses: [203.0.113.7], resolution: STATIC").replace(
            "STATIC", "NONE"
        ),
        entry("{number: 443, name: tls, protocol: TLS}"),
        entry("{number: 443, name: http, protocol: HTTP}")
        + rule("{host: x.example.com, trafficPolicy: {tls: {mode: SIMPLE}}}", "DestinationRule"),
    ],
)
def test_what_may_be_meant_or_be_elsewhere_is_not(text: str) -> None:
    assert told(text) == []


SELECTED = "workloadSelector: {labels: {app: web}}, egress: [{hosts: ['./*']}]"
MESH = """
---
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data: {mesh: "extensionProviders: [{name: mine, envoyFileAccessLog: {path: /dev/stdout}}]"}
"""
KNOWS = "defaultConfig: {proxyMetadata: {ISTIO_META_ENABLE_SELF_DISCOVERY: 'true'}}, extensionProviders"
KNOWN = MESH.replace('"extensionProviders', f'"{{{KNOWS}').replace(']"}', ']}"}')
ZONED = "{loadBalancer: {zoneAwareLbSetting: {}}}"
ZONED_PORT = f"{{portLevelSettings: [{{port: {{number: 80}}, {ZONED[1:-1]}}}]}}"
ASKING = policy("AuthorizationPolicy", "{action: CUSTOM, provider: {name: gone}, rules: [{}]}")


def telemetry(spec: str, name: str = "shop/a") -> str:
    return rule(spec, "Telemetry", name).replace("networking.istio.io", "telemetry.istio.io")


def locality(spec: str) -> str:
    return f"{{loadBalancer: {{localityLbSetting: {{distribute: [{{from: a, to: {{a: 100}}}}], {spec}}}}}}}"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            rule("{egress: [{hosts: ['./*']}]}", "Sidecar", "shop/a")
            + rule("{egress: [{hosts: ['*/*']}]}", "Sidecar", "shop/b"),
            " : does nothing: Sidecar/shop/a is for all workloads of shop too",
        ),
        (
            WEB + rule(f"{{{SELECTED}}}", "Sidecar", "shop/a") + rule(f"{{{SELECTED}}}", "Sidecar", "shop/b"),
            "does nothing for Pod/shop/web: Sidecar/shop/a selects it too",
        ),
        (
            STRICT + policy("PeerAuthentication", "{mtls: {mode: DISABLE}}", "istio-system/later"),
            "PeerAuthentication/istio-system/default is for all workloads of the mesh too",
        ),
        (
            telemetry("{accessLogging: [{}]}") + telemetry("{accessLogging: [{}]}", "shop/b"),
            "does nothing: Telemetry/shop/a is for all",
        ),
        (telemetry("{accessLogging: [{providers: [{name: gone}]}]}") + MESH, "accessLogging[0].providers[0].name: the"),
        (ASKING + MESH, "spec.provider.name: the mesh has no extension provider 'gone'"),
        (
            rule(f"{{hosts: [web], http: [{{timeout: 5s, retries: {{attempts: 1, perTryTimeout: 5s}}, {ROUTE[8:]}}}"),
            "spec.http[0].retries.perTryTimeout: 5s for one try is all",
        ),
        (
            rule(f"{{host: web, trafficPolicy: {locality('failoverPriority: [a]')}}}", "DestinationRule"),
            "failoverPriority: does nothing beside distribute",
        ),
        (
            rule(f"{{host: web, trafficPolicy: {ZONED}}}", "DestinationRule") + MESH,
            "spec.trafficPolicy.loadBalancer.zoneAwareLbSetting: regions are ranked, and zones count in proxies with",
        ),
        (
            rule(f"{{host: web, subsets: [{{name: a, trafficPolicy: {ZONED_PORT}}}]}}", "DestinationRule") + MESH,
            "spec.subsets[0].trafficPolicy.portLevelSettings[0].loadBalancer.zoneAwareLbSetting: regions are ranked",
        ),
    ],
)
def test_what_another_setting_makes_idle_is_told(text: str, words: str) -> None:
    (found,) = told(text)
    assert words in found


@pytest.mark.parametrize(
    "text",
    [
        rule("{egress: [{hosts: ['./*']}]}", "Sidecar", "shop/a") + rule(f"{{{SELECTED}}}", "Sidecar", "shop/b") + WEB,
        rule("{egress: [{hosts: ['./*']}]}", "Sidecar", "shop/a")
        + rule("{egress: [{hosts: ['./*']}]}", "Sidecar", "b/b"),
        telemetry("{accessLogging: [{providers: [{name: mine}]}]}") + MESH,
        telemetry("{accessLogging: [{providers: [{name: elsewhere}]}]}"),
        ASKING,
        rule(f"{{host: web, trafficPolicy: {locality('enabled: true')}}}", "DestinationRule"),
        rule(f"{{host: web, trafficPolicy: {ZONED}}}", "DestinationRule"),
        rule(f"{{host: web, trafficPolicy: {ZONED.replace('{}', '{enabled: false}')}}}", "DestinationRule") + MESH,
        rule(f"{{host: web, trafficPolicy: {ZONED}}}", "DestinationRule") + KNOWN,
    ],
)
def test_of_settings_that_all_count_nothing_is_said(text: str) -> None:
    assert told(text) == []
