"""What ProxyConfigs say of proxies that are found among manifests."""

from typing import Any

import pytest

from tidegate.app.offline import manifests, proxyspec
from tidegate.app.offline.world import build

POD = """
apiVersion: v1
kind: Pod
metadata:
  name: web
  namespace: shop
  labels: {app: web}
  annotations: {proxy.istio.io/config: "proxyMetadata: {ISTIO_META_HTTP10: '1'}"}
spec: {containers: [{name: app, image: app}]}
"""
ENTRY = """
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: web, namespace: shop}
spec: {address: 10.1.0.44, labels: {app: web}}
"""


def config(variables: str, selector: str = "", namespace: str = "shop") -> str:
    return f"""
apiVersion: networking.istio.io/v1beta1
kind: ProxyConfig
metadata: {{name: some{len(selector)}, namespace: {namespace}}}
spec: {{environmentVariables: {variables}{selector}}}
"""


def metadata(*texts: str) -> dict[str, Any]:
    return proxyspec.choose(build(manifests.parse("---".join(texts), "all.yaml")).hub.world, "web").metadata


MINE = ", selector: {matchLabels: {app: web}}"


@pytest.mark.parametrize(
    ("written", "more"),
    [
        (config("{ISTIO_META_DNS_CAPTURE: 'true'}"), {"DNS_CAPTURE": "true"}),
        (config("{ISTIO_META_DNS_CAPTURE: 'true'}", namespace="istio-system"), {"DNS_CAPTURE": "true"}),
        (config("{ISTIO_META_DNS_CAPTURE: 'true'}", namespace="other"), {}),
        (config("{ISTIO_META_DNS_CAPTURE: 'true'}", ", selector: {matchLabels: {app: x}}"), {}),
        (config("{OTHER: 'true'}"), {}),
        (config("{ISTIO_META_HTTP10: '0'}"), {}),
        (config("{ISTIO_META_HTTP10: '0'}", MINE), {"HTTP10": "0"}),
    ],
)
def test_environment_variables_become_metadata_as_injection_has_it(written: str, more: dict[str, str]) -> None:
    plain = {"HTTP10": "1", "INTERCEPTION_MODE": "REDIRECT"}
    assert metadata(POD) == plain
    assert metadata(POD, written) == {**plain, **more}


def test_a_machine_of_its_own_is_not_injected() -> None:
    assert metadata(ENTRY, config("{ISTIO_META_HTTP10: '1'}")) == metadata(ENTRY)
