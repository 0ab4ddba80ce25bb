"""Gateways with real connections: traffic that leaves by an egress gateway, and comes in by an ingress gateway."""

import collections
import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from demo.bounds import acceptance
from tests.certificates import Authority, secret
from tests.lab.labs import NEEDS, Lab, running_lab, until

pytestmark = NEEDS

CLIENT, CALLER = "client.front", "caller.front"
EGRESS, INGRESS = "egress.istio-system", "ingress.istio-system"
EGRESS_HOST = "istio-egressgateway.istio-system.svc.cluster.local"
INGRESS_IP, EGRESS_IP = "10.244.0.60", "10.244.0.61"
PAGES, PARTNER = "10.122.24.139", "10.122.24.140"
SHOP, OTHER, PARTNER_HOST = "shop.example.com", "other.example.com", "partner-api.example.com"

SPEC = """
name: {name}
controlPlane: {{apiPort: {api_port}, monitoringPort: {port}}}
objects: [objects.yaml]
dns: {{address: 10.122.24.53}}
hosts:
- name: pages
  address: 10.122.24.139
  dns: [pages.ext.example]
  commands:
  - &page
    name: stable
    command: [/usr/bin/python3, server.py, "8091"]
    env: {{VERSION: stable}}
    files: {{server.py: programs/server.py}}
    ports: [8091]
  - {{<<: *page, name: canary, command: [/usr/bin/python3, server.py, "8093"], env: {{VERSION: canary}}, ports: [8093]}}
- name: partner
  address: 10.122.24.140
  dns: [partner-api.example.com]
  commands:
  - name: https
    command: [/usr/bin/python3, secure.py, "443", partner.pem]
    files: {{secure.py: programs/secure.py, partner.pem: partner.pem}}
    ports: [443]
workloads:
- {{name: client, namespace: front, labels: {{app: client}}, command: [sleep, infinity]}}
- {{name: caller, namespace: front, command: [sleep, infinity], sidecar: false}}
- name: web
  namespace: shop
  labels: {{app: web}}
  command: [/usr/bin/python3, server.py, "8000"]
  env: {{VERSION: web}}
  files: {{server.py: programs/server.py}}
  ports: [{{name: http, containerPort: 8000}}]
- name: egress
  namespace: istio-system
  type: router
  address: 10.244.0.61
  labels: {{app: istio-egressgateway}}
  serviceAccount: egress
- name: ingress
  namespace: istio-system
  type: router
  address: 10.244.0.60
  labels: {{app: istio-ingressgateway}}
  serviceAccount: ingress
"""
OBJECTS = """
apiVersion: v1
kind: Namespace
metadata: {name: istio-system}
---
apiVersion: v1
kind: Service
metadata: {name: istio-egressgateway, namespace: istio-system}
spec:
  clusterIP: 10.96.60.10
  selector: {app: istio-egressgateway}
  ports: [{name: http2, port: 80, targetPort: 8080}, {name: tls, port: 443, targetPort: 8443}]
---
apiVersion: v1
kind: Service
metadata: {name: istio-ingressgateway, namespace: istio-system}
spec:
  type: LoadBalancer
  clusterIP: 10.96.60.11
  selector: {app: istio-ingressgateway}
  ports: [{name: http2, port: 80, targetPort: 8080}, {name: https, port: 443, targetPort: 8443}]
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {clusterIP: 10.96.60.1, selector: {app: web}, ports: [{name: http, port: 8000}]}
"""

CANARY = """
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: pages, namespace: front}
spec:
  hosts: [pages.ext.example]
  location: MESH_EXTERNAL
  resolution: STATIC
  ports: [{number: 80, name: http, protocol: HTTP}]
  endpoints:
  - {address: 10.122.24.139, ports: {http: 8091}, labels: {version: stable}}
  - {address: 10.122.24.139, ports: {http: 8093}, labels: {version: canary}}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: pages, namespace: front}
spec:
  host: pages.ext.example
  subsets: [{name: stable, labels: {version: stable}}, {name: canary, labels: {version: canary}}]
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: egress, namespace: front}
spec:
  selector: {app: istio-egressgateway}
  servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ["*"]}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: pages, namespace: front}
spec:
  hosts: [pages.ext.example]
  gateways: [egress, mesh]
  http:
  - match: [{gateways: [mesh]}]
    route: [{destination: {host: istio-egressgateway.istio-system.svc.cluster.local, port: {number: 80}}}]
  - match: [{gateways: [egress]}]
    route:
    - {destination: {host: pages.ext.example, subset: canary}, weight: 5}
    - {destination: {host: pages.ext.example, subset: stable}, weight: 95}
"""
PARTNERS = """
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: partner, namespace: front}
spec:
  hosts: [partner-api.example.com]
  location: MESH_EXTERNAL
  resolution: DNS
  ports:
  - {number: 80, name: http, protocol: HTTP}
  - {number: 443, name: https, protocol: HTTPS}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: partner, namespace: istio-system}
spec:
  selector: {app: istio-egressgateway}
  servers:
  - {port: {number: 80, name: http, protocol: HTTP}, hosts: [partner-api.example.com]}
  - {port: {number: 443, name: tls, protocol: TLS}, hosts: [partner-api.example.com], tls: {mode: PASSTHROUGH}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: partner, namespace: front}
spec:
  hosts: [partner-api.example.com]
  gateways: [mesh, istio-system/partner]
  http:
  - match: [{gateways: [mesh], port: 80}]
    route: [{destination: {host: istio-egressgateway.istio-system.svc.cluster.local, port: {number: 80}}}]
  - match: [{gateways: [istio-system/partner], port: 80}]
    route: [{destination: {host: partner-api.example.com, port: {number: 443}}}]
  tls:
  - match: [{gateways: [mesh], port: 443, sniHosts: [partner-api.example.com]}]
    route: [{destination: {host: istio-egressgateway.istio-system.svc.cluster.local, port: {number: 443}}}]
  - match: [{gateways: [istio-system/partner], port: 443, sniHosts: [partner-api.example.com]}]
    route: [{destination: {host: partner-api.example.com, port: {number: 443}}}]
"""
ORIGINATION = """
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: partner, namespace: istio-system}
spec:
  host: partner-api.example.com
  exportTo: ["."]
  trafficPolicy:
    portLevelSettings:
    - port: {number: 443}
      tls: {mode: SIMPLE, credentialName: partner-ca, sni: partner-api.example.com}
"""
FRONT = """
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: front, namespace: istio-system}
spec:
  selector: {app: istio-ingressgateway}
  servers:
  - {port: {number: 80, name: http, protocol: HTTP}, hosts: [shop.example.com], tls: {httpsRedirect: true}}
  - port: {number: 443, name: https, protocol: HTTPS}
    hosts: [shop.example.com]
    tls: {mode: SIMPLE, credentialName: shop-cert}
  - port: {number: 443, name: https-admin, protocol: HTTPS}
    hosts: [other.example.com]
    tls: {mode: MUTUAL, credentialName: other-cert, minProtocolVersion: TLSV1_3}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: web, namespace: shop}
spec:
  hosts: [shop.example.com, other.example.com]
  gateways: [istio-system/front]
  http: [{route: [{destination: {host: web}}]}]
"""


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture(scope="module")
def lab(authority: Authority) -> Iterator[Lab]:
    def certificates(base: Path) -> None:
        partner = authority.issue(PARTNER_HOST)
        (base / "partner.pem").write_bytes(partner.certificate + partner.key)
        (base / "partner.pem").chmod(0o644)
        (base / "roots.pem").write_bytes(authority.roots)
        client = authority.issue("ops.example.com")
        (base / "client.pem").write_bytes(client.certificate + client.key)
        (base / "client.pem").chmod(0o644)

    with running_lab(SPEC, OBJECTS, certificates) as made:
        yield made


def curl(lab: Lab, workload: str, *arguments: str) -> tuple[int, str]:
    """curl's exit code, and its output: the status alone where nothing else is asked for."""
    done = lab.run("lab", "exec", workload, "--", "curl", "-s", "--max-time", "20", *arguments)
    return done.returncode, done.stdout


def status(lab: Lab, workload: str, *arguments: str) -> str:
    return curl(lab, workload, "-o", "/dev/null", "-w", "%{http_code}", *arguments)[1]


def test_a_canary_is_split_at_the_egress_gateway_which_alone_is_seen_outside(lab: Lab) -> None:
    client = lab.probe(CLIENT)
    with lab.applied(CANARY):
        until(lambda: client.get("http://pages.ext.example/")["status"], lambda status: status == 200)
        request = f"/{uuid.uuid4()}"
        answer = json.loads(client.get(f"http://pages.ext.example{request}")["body"])
        assert answer["peer"] == EGRESS_IP
        assert f"outbound|80||{EGRESS_HOST}" in lab.logged(CLIENT, request)[0]
        assert "|pages.ext.example" in lab.logged(EGRESS, request)[0]
        count = 2000
        seen = collections.Counter(
            json.loads(each["body"])["version"] for each in client.many("http://pages.ext.example/", count)
        )
        low, high = acceptance(count, 0.05)
        assert low <= seen["canary"] <= high and seen["canary"] + seen["stable"] == count, seen


def test_a_gateway_without_a_matching_gateway_object_listens_for_nothing(lab: Lab) -> None:
    until(lambda: listeners(lab, EGRESS), lambda names: not names)
    with lab.applied(CANARY):
        until(lambda: listeners(lab, EGRESS), lambda names: names == ["0.0.0.0_8080"])
    until(lambda: listeners(lab, EGRESS), lambda names: not names)


def listeners(lab: Lab, proxy: str) -> list[str]:
    dump = json.loads(lab.agent(proxy, "/envoy/config_dump?resource=dynamic_listeners"))
    return sorted(each["name"] for each in dump.get("configs", ()) if "active_state" in each)


def test_tls_is_originated_at_the_egress_gateway_with_roots_from_a_secret(lab: Lab, authority: Authority) -> None:
    client = lab.probe(CLIENT)
    roots = secret("partner-ca", "istio-system", "Opaque", {"ca.crt": authority.roots})
    strangers = secret("partner-ca", "istio-system", "Opaque", {"ca.crt": Authority("a stranger").roots})
    url = f"http://{PARTNER_HOST}/"
    with lab.applied(PARTNERS), lab.applied(ORIGINATION), lab.applied(json.dumps(strangers)):
        until(lambda: client.get(url)["status"], lambda status: status == 503)
        lab.apply(json.dumps(roots))
        answer = until(lambda: client.get(url), lambda answer: answer["status"] == 200)
        assert json.loads(answer["body"])["sni"] == PARTNER_HOST


def test_tls_of_the_application_passes_through_the_egress_gateway_unopened(lab: Lab) -> None:
    with lab.applied(PARTNERS):
        trusting = ("--cacert", str(lab.base / "roots.pem"), f"https://{PARTNER_HOST}/")
        until(lambda: status(lab, CLIENT, *trusting), lambda found: found == "200")
        lines = lab.logged(EGRESS, f"outbound|443||{PARTNER_HOST}")
        assert f"{PARTNER}:443" in lines[0] and PARTNER_HOST in lines[0]


def reach(host: str, port: int = 443) -> tuple[str, ...]:
    return ("--connect-to", f"{host}:{port}:{INGRESS_IP}:{port + 8000 if port == 443 else 8080}")


def test_an_ingress_gateway_redirects_and_ends_tls_with_a_secret(lab: Lab, authority: Authority) -> None:
    trusting = ("--cacert", str(lab.base / "roots.pem"))
    cert = authority.issue(SHOP).secret("shop-cert", "istio-system")
    other = authority.issue(OTHER).secret("other-cert", "istio-system", authority.roots)
    with lab.applied(FRONT), lab.applied(json.dumps(cert)), lab.applied(json.dumps(other)):
        until(lambda: status(lab, CALLER, *reach(SHOP, 80), f"http://{SHOP}/"), lambda found: found == "301")
        found = until(
            lambda: curl(lab, CALLER, *trusting, *reach(SHOP), f"https://{SHOP}/"), lambda answer: answer[0] == 0
        )
        assert json.loads(found[1]) == {"version": "web", "peer": "127.0.0.6", "host": SHOP}
        refused, _ = curl(lab, CALLER, *trusting, *reach(OTHER), f"https://{OTHER}/")
        assert refused != 0, "a client without a certificate was let in"
        mine = ("--cert", str(lab.base / "client.pem"))
        code, _ = curl(lab, CALLER, *trusting, *mine, *reach(OTHER), f"https://{OTHER}/")
        assert code == 0
        assert curl(lab, CALLER, *trusting, *mine, "--tls-max", "1.2", *reach(OTHER), f"https://{OTHER}/")[0] != 0


def test_a_renewed_secret_reaches_the_gateway_without_a_restart(lab: Lab, authority: Authority) -> None:
    first, second = (authority.issue(SHOP) for _ in range(2))
    with lab.applied(FRONT), lab.applied(json.dumps(first.secret("shop-cert", "istio-system"))):
        before = until(lambda: serial(lab), lambda found: bool(found))
        lab.apply(json.dumps(second.secret("shop-cert", "istio-system")))
        assert until(lambda: serial(lab), lambda found: found not in ("", before))


def serial(lab: Lab) -> str:
    """Of the certificate that the ingress gateway shows for the shop, "" while it shows none."""
    verbose = ("--cacert", str(lab.base / "roots.pem"), "-w", "%{certs}", "-o", "/dev/null")
    code, text = curl(lab, CALLER, *verbose, *reach(SHOP), f"https://{SHOP}/")
    return next((line for line in text.splitlines() if line.startswith("Serial Number")), "") if code == 0 else ""


def test_only_a_proxy_that_a_gateway_selects_is_given_the_keys(lab: Lab, authority: Authority) -> None:
    cert: dict[str, Any] = authority.issue(SHOP).secret("shop-cert", "istio-system")
    with lab.applied(FRONT), lab.applied(json.dumps(cert)):
        until(lambda: secrets_of(lab, INGRESS), lambda names: "kubernetes://shop-cert" in names)
        assert secrets_of(lab, EGRESS) == []
        assert secrets_of(lab, "web.shop") == []


def secrets_of(lab: Lab, proxy: str) -> list[str]:
    dump = json.loads(lab.agent(proxy, "/envoy/config_dump?resource=dynamic_active_secrets"))
    return sorted(each["name"] for each in dump.get("configs", ()))
