"""A route to a subset that nobody defines is told with its line."""

import pytest

from tidegate.app.offline.dangling import missing_subsets
from tidegate.app.offline.manifests import parse
from tidegate.app.offline.world import build

ENTRY = """---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: web, namespace: shop}
spec: {hosts: [web.example.com], ports: [{number: 80, name: http, protocol: HTTP}], resolution: DNS}
"""
RULE = """---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: web, namespace: shop}
spec: {host: "*.example.com", subsets: [{name: v1, labels: {version: v1}}]}
"""
ROUTES = """---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: web, namespace: shop}
spec:
  hosts: [web.example.com]
  http:
  - route:
    - destination: {host: web.example.com}
    - destination:
        host: web.example.com
        subset: SUBSET
      weight: 1
"""


def told(*documents: str) -> list[str]:
    return [str(each) for each in missing_subsets(build(parse("".join(documents), "w.yaml")))]


def test_a_subset_that_the_rule_has_not() -> None:
    (found,) = told(ENTRY, RULE, ROUTES.replace("SUBSET", "v9"))
    assert found.startswith("w.yaml:22: warning: VirtualService/shop/web: spec.http[0].route[1].destination.subset: ")
    assert "DestinationRule/shop/web has no subset v9 of web.example.com" in found


def test_a_subset_without_any_rule() -> None:
    (found,) = told(ENTRY, ROUTES.replace("SUBSET", "v1"))
    assert "no DestinationRule gives web.example.com subsets" in found


@pytest.mark.parametrize("documents", [(ENTRY, RULE, ROUTES.replace("SUBSET", "v1")), (ROUTES,)])
def test_what_there_is_or_may_be_elsewhere_is_not_told(documents: tuple[str, ...]) -> None:
    assert told(*documents) == []
