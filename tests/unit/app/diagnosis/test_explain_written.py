"""Manifests as people keep them, without what a cluster adds, are explained as the cluster would have them."""

from typing import Any

from tidegate.answer.question import Question
from tidegate.answer.report import Report
from tidegate.app.diagnosis.explain import explain, scene
from tidegate.app.offline import proxyspec
from tidegate.app.offline.manifests import parse
from tidegate.app.offline.world import build


def deployment(name: str, namespace: str, more: str = "") -> str:
    return f"""---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}, namespace: {namespace}}}
spec:
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}, istio: {name}}}}}
    spec: {{containers: [{{name: app, image: a}}]{more}}}
"""


SERVER = """---
apiVersion: v1
kind: Namespace
metadata: {name: web, labels: {istio-injection: enabled}}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: web}
spec: {clusterIP: 10.96.0.7, selector: {app: web}, ports: [{name: http, port: 80, targetPort: 8080}]}
""" + deployment("web", "web")
STRICT = """---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: istio-system}
spec: {mtls: {mode: STRICT}}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: web, namespace: web}
spec: {host: web, trafficPolicy: {tls: {mode: DISABLE}}}
"""
INGRESS = (
    deployment("ingress", "edge")
    + """---
apiVersion: v1
kind: Service
metadata: {name: ingress, namespace: edge}
spec: {clusterIP: 10.96.0.9, selector: {app: ingress}, ports: [{name: http, port: 80, targetPort: 8080}]}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: gw, namespace: edge}
spec:
  selector: {istio: ingress}
  servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ["*"]}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: site, namespace: web}
spec: {hosts: [site.example.com], gateways: [edge/gw], http: [{route: [{destination: {host: web}}]}]}
"""
)


def said(text: str, source: str, **asked: Any) -> Report:
    given = parse(text, "w.yaml")
    world = build(given)
    return explain(scene(world, given, proxyspec.choose(world.hub.world, source)), Question(**asked))


def test_pods_of_a_labelled_namespace_take_mutual_tls() -> None:
    found = said(SERVER + STRICT + deployment("client", "shop"), "client.shop", to="web.web", port=80)
    assert (found.outcome, found.deciding_object) == ("tls_mismatch", "DestinationRule/web/web")


def test_what_a_deployment_says_of_its_pods_counts_and_has_its_line() -> None:
    text = SERVER + deployment("client", "shop", ", hostNetwork: true")
    found = said(text, "client.shop", to="web.web", port=80)
    assert (found.outcome, found.field) == ("not_intercepted", "spec.hostNetwork")
    assert text.splitlines()[int(found.at.rpartition(":")[2]) - 1].strip().endswith("hostNetwork: true}")


def test_the_user_in_the_question_counts_before_that_of_the_pod() -> None:
    text = SERVER + deployment("client", "shop", ", securityContext: {runAsUser: 1337}")
    assert said(text, "client.shop", to="web.web", port=80).outcome == "not_intercepted"
    assert said(text, "client.shop", to="web.web", port=80, user=1000).outcome == "reaches"


def test_a_pod_that_a_gateway_means_is_one_and_is_called_at_its_services_port() -> None:
    found = said(SERVER + INGRESS, "ingress.edge", to="site.example.com", port=80)
    assert (found.outcome, found.deciding_object) == ("reaches", "VirtualService/web/site")
    assert found.listener == "0.0.0.0_8080"
    assert found.steps[0].words.endswith("; port 80 of Service/edge/ingress leads to its port 8080")
