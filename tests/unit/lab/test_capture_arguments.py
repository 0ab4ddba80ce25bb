"""What of a workload's DNS the packet rules capture."""

import pytest

from tidegate.lab.objects import capture_arguments
from tidegate.lab.spec import PROXY_CONFIG, Sidecar, Workload


@pytest.mark.parametrize("captured", [True, False])
def test_dns_is_captured_where_it_is_asked_for(captured: bool) -> None:
    assert ("--redirect-dns" in capture_arguments(Sidecar(), dns=captured)) == captured


@pytest.mark.parametrize(("value", "expected"), [("true", True), ("1", True), ("false", False)])
def test_proxy_metadata_asks_for_it(value: str, expected: bool) -> None:
    config = f"proxyMetadata: {{ISTIO_META_DNS_CAPTURE: '{value}'}}"
    asking = Workload(name="a", namespace="b", command=("true",), annotations={PROXY_CONFIG: config})
    assert asking.captures_dns == expected
