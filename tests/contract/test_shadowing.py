"""At apply kubectl prints which objects a TCP port without addresses takes connections from."""

import pytest

ENTRY = """
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: {name}, namespace: {ns}}}
spec:
  hosts: [{name}.example]
  {addresses}
  ports: [{{number: 7000, name: tcp, protocol: TCP}}]
  resolution: STATIC
  endpoints: [{{address: {address}}}]
"""


@pytest.fixture(autouse=True)
def _embedded(backend):
    if not backend.embedded:
        pytest.skip("the warnings are the embedded server's")


def text(ns, name, address, addresses=""):
    return ENTRY.format(ns=ns, name=name, address=address, addresses=addresses)


def test_kubectl_prints_both_objects(kubectl, ns):
    assert "takes every connection" not in kubectl("apply", "-f", "-", stdin=text(ns, "first", "10.0.0.6"))
    told = kubectl("apply", "-f", "-", stdin=text(ns, "second", "10.0.0.7"))
    assert f"Warning: ServiceEntry {ns}/second port 7000 (10.0.0.7:7000) is taken by" in told
    assert f"ServiceEntry {ns}/first: port 7000 without addresses takes every connection to port 7000" in told


def test_the_advice_helps(kubectl, ns):
    kubectl("apply", "-f", "-", stdin=text(ns, "first", "10.0.0.6"))
    dry = kubectl("apply", "--dry-run=server", "-f", "-", stdin=text(ns, "second", "10.0.0.7"))
    assert "is taken by" in dry
    kubectl("apply", "-f", "-", stdin=text(ns, "first", "10.0.0.6", "addresses: [10.0.0.6]"))
    assert "is taken by" not in kubectl("apply", "-f", "-", stdin=text(ns, "second", "10.0.0.7"))
