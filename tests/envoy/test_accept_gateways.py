"""Envoy's validate mode accepts what gateways are sent, in every form that a server can have."""

import json
from pathlib import Path

import pytest

from tests.certificates import Authority
from tests.envoy.test_compiled_validates import assert_valid, compiled

pytestmark = pytest.mark.envoy

PROXY = [{"name": "gw", "namespace": "edge", "type": "router", "ip": "10.1.0.9", "serviceAccount": "gw"}]
MANIFESTS = """
apiVersion: v1
kind: Pod
metadata: {name: gw, namespace: edge, labels: {app: gw}}
spec: {serviceAccountName: gw, containers: [{name: istio-proxy}]}
status: {phase: Running, podIP: 10.1.0.9, conditions: [{type: Ready, status: "True"}]}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {clusterIP: 10.96.0.10, ports: [{name: http, port: 80}, {name: tcp-db, port: 5432}]}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: one, namespace: edge}
spec:
  selector: {app: gw}
  servers:
  - {port: {number: 8080, name: http, protocol: HTTP}, hosts: [a.example], tls: {httpsRedirect: true}}
  - {port: {number: 8080, name: http2, protocol: HTTP2}, hosts: ["shop/b.example", "*.c.example"]}
  - {port: {number: 8081, name: bound, protocol: GRPC}, bind: 127.0.0.1, hosts: ["*"]}
  - {port: {number: 5432, name: tcp, protocol: TCP}, hosts: ["*"]}
  - {port: {number: 27017, name: mongo, protocol: MONGO}, hosts: ["*"]}
  - {port: {number: 15443, name: cross, protocol: TLS}, hosts: ["*.local"], tls: {mode: AUTO_PASSTHROUGH}}
  - {port: {number: 8443, name: raw, protocol: TLS}, hosts: ["*.raw.example"], tls: {mode: PASSTHROUGH}}
  - port: {number: 8443, name: simple, protocol: HTTPS}
    hosts: [a.example, "*.c.example"]
    tls: {mode: SIMPLE, credentialName: cert, minProtocolVersion: TLSV1_2, ecdhCurves: [P-256]}
  - port: {number: 8443, name: pair, protocol: HTTPS}
    hosts: [pair.example]
    tls: {mode: SIMPLE, credentialNames: [cert, other]}
  - port: {number: 8443, name: mutual, protocol: HTTPS}
    name: mutual
    hosts: [mutual.example]
    tls:
      mode: MUTUAL
      credentialName: cert
      subjectAltNames: [ops.example]
      verifyCertificateHash: [a24edc570c06adc8aa62b26236912701fc126078ffdcb690d20d156325ffa81a]
      maxProtocolVersion: TLSV1_3
      cipherSuites: [ECDHE-RSA-AES128-GCM-SHA256]
  - port: {number: 8443, name: optional, protocol: HTTPS}
    hosts: [optional.example]
    tls: {mode: OPTIONAL_MUTUAL, credentialName: cert, caCertCredentialName: roots}
  - port: {number: 8443, name: unchecked, protocol: HTTPS}
    hosts: [unchecked.example]
    tls: {mode: MUTUAL, credentialName: cert, insecureSkipVerify: true}
FILES---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: web, namespace: shop}
spec:
  hosts: ["*"]
  gateways: [edge/one]
  http:
  - match: [{headers: {"@request.auth.claims.group": {exact: admin}}}, {headers: {"@request.auth.claims[sub]": {}}}]
    route: [{destination: {host: web, port: {number: 80}}}]
  - match: [{withoutHeaders: {"@request.auth.claims.sub": {prefix: x}}, uri: {prefix: /x}}]
    redirect: {uri: /y}
  - route: [{destination: {host: web, port: {number: 80}}}]
  tcp:
  - route:
    - {destination: {host: web, port: {number: 5432}}, weight: 1}
    - {destination: {host: web, port: {number: 80}}, weight: 2}
  tls:
  - match: [{sniHosts: ["*.raw.example"]}]
    route: [{destination: {host: web, port: {number: 5432}}}]
---
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: tokens, namespace: edge}
spec: {jwtRules: [{issuer: i, jwks: '{"keys": []}'}]}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: some, namespace: edge}
spec:
  selector: {matchLabels: {app: gw}}
  rules: [{to: [{operation: {hosts: [a.example]}}]}, {when: [{key: connection.sni, values: ["*.raw.example"]}]}]
"""
FILES = """\
  - port: {number: 8443, name: files, protocol: TLS}
    hosts: [files.example]
    tls: {mode: MUTUAL, serverCertificate: FOLDER/cert.pem, privateKey: FOLDER/key.pem, caCertificates: FOLDER/ca.pem}
"""
"""Without an agent that serves them Envoy reads them itself, and a dump does not tell where the key is."""

TOPOLOGY = "defaultConfig: {gatewayTopology: {numTrustedProxies: 1, proxyProtocol: {}}}\naccessLogFile: /dev/stdout\n"


@pytest.mark.parametrize("certificates", [True, False])
def test_envoy_accepts_every_form_of_server(tmp_path: Path, certificates: bool) -> None:
    authority = Authority()
    pair = authority.issue("files.example")
    (tmp_path / "cert.pem").write_bytes(pair.certificate)
    (tmp_path / "key.pem").write_bytes(pair.key)
    (tmp_path / "ca.pem").write_bytes(authority.roots)
    (tmp_path / "proxies.json").write_text(json.dumps(PROXY))
    (tmp_path / "mesh.yaml").write_text(TOPOLOGY)
    dump = compiled(
        *("-f", "-", "--proxy-spec", str(tmp_path / "proxies.json"), "--mesh-config", str(tmp_path / "mesh.yaml")),
        *(() if certificates else ("--no-certificates",)),
        given=MANIFESTS.replace("FILES", FILES.replace("FOLDER", str(tmp_path)) if certificates else ""),
    )
    names = {
        each["name"] for part in dump["configs"] for each in part.get("dynamicListeners", ()) if "activeState" in each
    }
    assert names == {
        *("0.0.0.0_8080", "127.0.0.1_8081", "0.0.0.0_5432", "0.0.0.0_27017", "0.0.0.0_15443", "0.0.0.0_8443"),
    }
    assert_valid(dump, tmp_path)
