"""Envoy accepts what settings of the mesh, labels of Services and switches put into a sidecar and a gateway."""

from pathlib import Path

import pytest

from tests.envoy.test_compiled_validates import assert_valid, compiled

pytestmark = pytest.mark.envoy

SESSIONS = "PILOT_ENABLE_PERSISTENT_SESSION_FILTER=true"
WORLD = """
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data:
  mesh: |
    outboundTrafficPolicy: {mode: ALLOW_ANY_DYNAMIC_DNS}
    enableTracing: true
    extensionProviders: [{name: zip, zipkin: {service: orders.shop.svc.cluster.local, port: 80}}]
    defaultProviders: {tracing: [zip]}
    tlsDefaults: {minProtocolVersion: TLSV1_3, ecdhCurves: [P-256]}
    defaultConfig:
      proxyHeaders: {preserveHttp1HeaderCase: true, xForwardedHost: {enabled: true}}
      connectionSettings: {profile: EDGE, httpMaxStreamDuration: 60s}
  meshNetworks: "networks: {n1: {endpoints: [{fromCidr: 10.1.0.0/16}]}}"
---
apiVersion: v1
kind: Service
metadata: {name: orders, namespace: shop, labels: {istio.io/persistent-session: "site:/cart"}}
spec:
  clusterIP: 10.96.0.10
  selector: {app: orders}
  ports: [{name: http, port: 80}, {name: grpc-web, port: 8081}, {name: auto, port: 8082}, {name: tcp, port: 9000}]
---
apiVersion: v1
kind: Service
metadata: {name: members, namespace: shop, labels: {istio.io/persistent-session-header: x-session}}
spec: {clusterIP: None, selector: {app: orders}, ports: [{name: tcp, port: 9001}, {name: http, port: 80}]}
---
apiVersion: v1
kind: Pod
metadata: {name: orders-0, namespace: shop, labels: {app: orders, security.istio.io/tlsMode: istio}}
spec: {containers: [{name: app, ports: [{containerPort: 80}]}]}
status: {phase: Running, podIP: 10.1.0.5, conditions: [{type: Ready, status: "True"}]}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: orders, namespace: shop}
spec:
  host: orders.shop.svc.cluster.local
  trafficPolicy:
    loadBalancer: {simple: ROUND_ROBIN, warmup: {duration: 30s}}
    retryBudget: {percent: 30}
    portLevelSettings:
    - port: {number: 80}
      connectionPool: {http: {h2UpgradePolicy: UPGRADE, maxConcurrentStreams: 7, http2KeepAlive: {interval: 5s}}}
    - port: {number: 8082}
      loadBalancer: {consistentHash: {useSourceIp: true, maglev: {}}}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: far, namespace: shop}
spec:
  hosts: ["*.far.example"]
  ports: [{number: 443, name: http, protocol: HTTP}, {number: 8443, name: tls, protocol: TLS}]
  resolution: DYNAMIC_DNS
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: far, namespace: shop}
spec: {host: "*.far.example", trafficPolicy: {tls: {mode: SIMPLE, sni: one.far.example}}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: orders, namespace: shop}
spec:
  hosts: [orders.shop.svc.cluster.local, shop.example.com]
  gateways: [mesh, edge]
  http:
  - match: [{headers: {"@request.auth.claims.group": {exact: staff}}}]
    rewrite: {authority: staff.example.com}
    route: [{destination: {host: orders.shop.svc.cluster.local, port: {number: 80}}}]
  - route: [{destination: {host: orders.shop.svc.cluster.local, port: {number: 80}}}]
  tcp: [{match: [{port: 8443}], route: [{destination: {host: orders.shop.svc.cluster.local, port: {number: 9000}}}]}]
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: edge, namespace: shop}
spec:
  selector: {istio: edge}
  servers:
  - port: {number: 8443, name: https, protocol: HTTPS}
    hosts: [shop.example.com]
    tls: {mode: SIMPLE, credentialName: c}
  - port: {number: 8444, name: mutual, protocol: HTTPS}
    hosts: [shop.example.com]
    tls: {mode: MUTUAL, credentialName: c, insecureSkipVerify: true}
  - {port: {number: 8443, name: tcp, protocol: TCP}, hosts: ["*"]}
  - {port: {number: 8080, name: web, protocol: GRPC-WEB}, hosts: ["*"]}
---
apiVersion: v1
kind: Pod
metadata: {name: edge-0, namespace: shop, labels: {istio: edge, inject.istio.io/templates: gateway}}
spec: {containers: [{name: istio-proxy}]}
status: {phase: Running, podIP: 10.1.0.9, conditions: [{type: Ready, status: "True"}]}
"""


@pytest.mark.parametrize("proxy", ["orders-0", "edge-0"])
def test_envoy_accepts_what_settings_change(proxy: str, tmp_path: Path) -> None:
    dump = compiled("-f", "-", "--proxy", proxy, "--no-certificates", "--env", SESSIONS, given=WORLD)
    assert "stateful_session" in str(dump) and "preserve_case" in str(dump)
    assert_valid(dump, tmp_path)
