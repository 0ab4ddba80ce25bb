"""Stock kubectl against both backends."""

import json
import subprocess
import threading

ENTRY = """
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata:
  name: ext
  namespace: {ns}
spec:
  hosts: [{host}]
  ports:
  - number: 80
    name: http
    protocol: HTTP
  location: MESH_EXTERNAL
  resolution: STATIC
  endpoints:
  - address: 10.1.1.1
"""

SERVICE = """
apiVersion: v1
kind: Service
metadata:
  name: web
  namespace: {ns}
spec:
  selector:
    app: web
  ports:
  - name: http
    port: {port}
---
apiVersion: v1
kind: ConfigMap
metadata:
  name: settings
  namespace: {ns}
data:
  colour: {colour}
"""


def entry(ns, host="example.com"):
    return ENTRY.format(ns=ns, host=host)


def test_apply_creates_then_changes_then_does_nothing(kubectl, ns):
    assert "serviceentry.networking.istio.io/ext created" in kubectl("apply", "-f", "-", stdin=entry(ns))
    assert "ext configured" in kubectl("apply", "-f", "-", stdin=entry(ns, "b.example.com"))
    assert "ext unchanged" in kubectl("apply", "-f", "-", stdin=entry(ns, "b.example.com"))
    shown = kubectl("get", "se", "-n", ns).splitlines()
    assert shown[0].split() == ["NAME", "HOSTS", "LOCATION", "RESOLUTION", "AGE"]
    assert shown[1].split()[:4] == ["ext", '["b.example.com"]', "MESH_EXTERNAL", "STATIC"]


def test_apply_of_core_kinds(kubectl, ns):
    first = kubectl("apply", "-f", "-", stdin=SERVICE.format(ns=ns, port=80, colour="red"))
    assert "service/web created" in first and "configmap/settings created" in first
    second = kubectl("apply", "-f", "-", stdin=SERVICE.format(ns=ns, port=81, colour="red"))
    assert "service/web configured" in second and "configmap/settings unchanged" in second
    ports = json.loads(kubectl("get", "svc", "web", "-n", ns, "-o", "json"))["spec"]["ports"]
    assert [(p["port"], p["targetPort"], p["protocol"]) for p in ports] == [(81, 81, "TCP")]


def test_apply_refuses_unknown_fields(kubectl, ns):
    text = kubectl("apply", "-f", "-", stdin=entry(ns) + "  nosuchfield: 1\n", code=1)
    assert "nosuchfield" in text
    assert "NotFound" in kubectl("get", "se", "ext", "-n", ns, code=1)


def test_apply_on_the_server_side(kubectl, ns):
    assert "serverside-applied" in kubectl("apply", "--server-side", "-f", "-", stdin=entry(ns))
    assert "serverside-applied" in kubectl("apply", "--server-side", "-f", "-", stdin=entry(ns, "b.example.com"))
    hosts = kubectl("get", "se", "ext", "-n", ns, "-o", "jsonpath={.spec.hosts[0]}")
    assert hosts == "b.example.com"


def test_yaml_can_be_read_back(kubectl, ns):
    kubectl("apply", "-f", "-", stdin=entry(ns))
    shown = kubectl("get", "serviceentries.v1beta1.networking.istio.io", "ext", "-n", ns, "-o", "yaml")
    assert "apiVersion: networking.istio.io/v1beta1" in shown and "- example.com" in shown
    kubectl("replace", "-f", "-", stdin=shown.replace("example.com", "c.example.com"))
    assert "c.example.com" in kubectl("get", "se", "ext", "-n", ns)


def test_describe(kubectl, ns):
    kubectl("apply", "-f", "-", stdin=entry(ns))
    kubectl("apply", "-f", "-", stdin=SERVICE.format(ns=ns, port=80, colour="red"))
    shown = kubectl("describe", "se", "ext", "-n", ns)
    assert "MESH_EXTERNAL" in shown and "Kind:         ServiceEntry" in shown
    assert "80/TCP" in kubectl("describe", "svc", "web", "-n", ns)
    assert "colour" in kubectl("describe", "cm", "settings", "-n", ns)
    assert "Active" in kubectl("describe", "ns", ns)


def test_patch(kubectl, ns):
    kubectl("apply", "-f", "-", stdin=entry(ns))
    kubectl("patch", "se", "ext", "-n", ns, "--type=merge", "-p", '{"spec":{"location":"MESH_INTERNAL"}}')
    operations = '[{"op":"replace","path":"/spec/hosts/0","value":"d.example.com"}]'
    kubectl("patch", "se", "ext", "-n", ns, "--type=json", "-p", operations)
    shown = json.loads(kubectl("get", "se", "ext", "-n", ns, "-o", "json"))["spec"]
    assert (shown["location"], shown["hosts"]) == ("MESH_INTERNAL", ["d.example.com"])
    kubectl("apply", "-f", "-", stdin=SERVICE.format(ns=ns, port=80, colour="red"))
    kubectl("patch", "svc", "web", "-n", ns, "-p", '{"spec":{"ports":[{"port":80,"targetPort":8080}]}}')
    assert kubectl("get", "svc", "web", "-n", ns, "-o", "jsonpath={.spec.ports[0].targetPort}") == "8080"


def test_label_and_annotate(kubectl, ns):
    kubectl("apply", "-f", "-", stdin=entry(ns))
    kubectl("label", "se", "ext", "-n", ns, "tier=edge")
    kubectl("annotate", "se", "ext", "-n", ns, "example.com/note=x")
    assert "ext" in kubectl("get", "se", "-n", ns, "-l", "tier=edge")
    assert "No resources found" in kubectl("get", "se", "-n", ns, "-l", "tier=other")


def test_delete(kubectl, ns):
    kubectl("apply", "-f", "-", stdin=entry(ns))
    assert "deleted" in kubectl("delete", "se", "ext", "-n", ns)
    assert "NotFound" in kubectl("get", "se", "ext", "-n", ns, code=1)
    kubectl("apply", "-f", "-", stdin=entry(ns))
    assert "deleted" in kubectl("delete", "-f", "-", stdin=entry(ns))


def test_wide_columns_of_services(kubectl, ns):
    kubectl("apply", "-f", "-", stdin=SERVICE.format(ns=ns, port=80, colour="red"))
    header, row = kubectl("get", "svc", "-n", ns, "-o", "wide").splitlines()
    assert header.split() == ["NAME", "TYPE", "CLUSTER-IP", "EXTERNAL-IP", "PORT(S)", "AGE", "SELECTOR"]
    cells = row.split()
    assert (cells[0], cells[1], cells[4], cells[6]) == ("web", "ClusterIP", "80/TCP", "app=web")


def test_watch(kubectl, ns):
    kubectl("apply", "-f", "-", stdin=entry(ns))
    arguments = kubectl.arguments("get", "se", "-n", ns, "-w")
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    guard = threading.Timer(60, process.kill)
    guard.start()
    try:
        assert process.stdout is not None
        assert process.stdout.readline().split()[:2] == ["NAME", "HOSTS"]
        assert process.stdout.readline().split()[:2] == ["ext", '["example.com"]']
        kubectl("apply", "-f", "-", stdin=entry(ns, "b.example.com"))
        assert process.stdout.readline().split()[:2] == ["ext", '["b.example.com"]']
        kubectl("delete", "se", "ext", "-n", ns)
        assert process.stdout.readline().split()[:2] == ["ext", '["b.example.com"]']
    finally:
        guard.cancel()
        process.kill()
        process.wait(10)
        process.stdout.close()


def test_create_commands(kubectl, ns):
    """Typed clients send protobuf bodies."""
    kubectl("create", "configmap", "made", "-n", ns, "--from-literal=a=b")
    assert kubectl("get", "cm", "made", "-n", ns, "-o", "jsonpath={.data.a}") == "b"
    kubectl("create", "secret", "generic", "hidden", "-n", ns, "--from-literal=a=b")
    assert kubectl("get", "secret", "hidden", "-n", ns, "-o", "jsonpath={.data.a}") == "Yg=="
    kubectl("create", "serviceaccount", "robot", "-n", ns)
    assert kubectl("create", "token", "robot", "-n", ns, "--audience=istio-ca").count(".") == 2
    kubectl("create", "service", "clusterip", "made", "-n", ns, "--tcp=80:8080")
    assert kubectl("get", "svc", "made", "-n", ns, "-o", "jsonpath={.spec.ports[0].targetPort}") == "8080"
    kubectl("create", "namespace", f"{ns}-2")
    assert "deleted" in kubectl("delete", "namespace", f"{ns}-2")


def test_explain(kubectl):
    assert "hosts" in kubectl("explain", "serviceentry.spec")
