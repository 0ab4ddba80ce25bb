"""HTTP/1.0, by node metadata of one proxy and by PILOT_HTTP10 of the control plane."""

import pytest

from tidegate.app.discovery.proxies import Node, make_kind
from tidegate.envoy.chains import http_protocols
from tidegate.kit.features import Features
from tidegate.scope.proxy import ProxyKind
from tidegate.snapshot.state import Snapshot


def kind(features: Features, *, http10: bool) -> ProxyKind:
    node = Node(name="a.shop", namespace="shop", pod="a", service_account="default", address="10.0.0.1", http10=http10)
    return make_kind(Snapshot.empty(features=features), node, None, frozenset(), node_local=False)


@pytest.mark.parametrize(
    ("switched", "said", "accepted", "protocols"),
    [
        (False, False, False, ("http/1.1", "h2c")),
        (False, True, True, ("http/1.1", "h2c")),
        (True, False, True, ("http/1.0", "http/1.1", "h2c")),
    ],
)
def test_metadata_accepts_and_the_switch_looks_for_it_too(
    switched: bool, said: bool, accepted: bool, protocols: tuple[str, ...]
) -> None:
    found = kind(Features(http10=switched), http10=said)
    assert (found.http10, http_protocols(found)) == (accepted, protocols)
