"""Inbound listeners under security policies: chains by mutual TLS, what stands in each, and where it comes from."""

from typing import Any

import pytest

from tests.unit.envoy import given
from tests.worlds import kind, made, world
from tidegate.api.security import MutualTLSMode as Mode
from tidegate.envoy import inbound, protos
from tidegate.envoy.inputs import SecurityInput
from tidegate.envoy.security.gather import gather
from tidegate.scope.authentication import PeerModes
from tidegate.scope.proxy import Interception

MESHED = given.proxy(mtls=True)
ONE_OF_EACH = (given.target(given.HTTP), given.target(given.TCP), given.target(given.AUTO))
RBAC, HTTP_RBAC = "envoy.filters.network.rbac", "envoy.filters.http.rbac"
INSPECT_TLS, INSPECT_HTTP = (f"envoy.filters.listener.{kind}_inspector" for kind in ("tls", "http"))


def listener(security: SecurityInput, **changes: Any) -> Any:
    found = inbound.virtual_inbound(given.inbound(*ONE_OF_EACH, security=security, **changes))
    assert found is not None
    return protos.Listener.FromString(found.body)


def peers(mode: Mode, **ports: Mode) -> SecurityInput:
    of_ports = tuple(sorted((int(port.removeprefix("p")), each) for port, each in ports.items()))
    return SecurityInput(peers=PeerModes(mode, of_ports))


def ways(found: Any, port: int | None) -> list[tuple[str, bool]]:
    """Transport protocol, and whether TLS is ended, of each chain of a port; None: of no port."""
    return [
        (chain.filter_chain_match.transport_protocol, chain.HasField("transport_socket"))
        for chain in found.filter_chains
        if chain.filter_chain_match.destination_port.value == (port or 0)
    ]


def test_strict_takes_mutual_tls_alone() -> None:
    found = listener(peers(Mode.STRICT), proxy=MESHED)
    for port, count in ((None, 2), (8080, 1), (9100, 1), (9464, 2)):
        assert ways(found, port) == [("tls", True)] * count
    assert [each.name for each in found.listener_filters][1:] == [INSPECT_TLS]


def test_disable_takes_plain_text_alone() -> None:
    found = listener(peers(Mode.DISABLE), proxy=MESHED)
    assert {way for port in (None, 8080, 9100, 9464) for way in ways(found, port)} == {("raw_buffer", False)}
    assert [each.name for each in found.listener_filters][1:] == [INSPECT_HTTP]


def test_a_port_of_its_own() -> None:
    found = listener(peers(Mode.PERMISSIVE, p9100=Mode.STRICT, p8080=Mode.DISABLE), proxy=MESHED)
    assert ways(found, 9100) == [("tls", True)]
    assert ways(found, 8080) == [("raw_buffer", False)]
    assert len(ways(found, 9464)) == 5


def off(found: Any, name: str) -> Any:
    return next(each for each in found.listener_filters if each.name == name).filter_disabled


def ranges(predicate: Any) -> list[int]:
    rules = predicate.or_match.rules or [predicate]
    return [rule.destination_port_range.start for rule in rules]


def test_tls_is_looked_for_where_it_may_be() -> None:
    found = listener(peers(Mode.PERMISSIVE, p9100=Mode.DISABLE), proxy=MESHED)
    assert ranges(off(found, INSPECT_TLS)) == [9100, 15006]
    found = listener(peers(Mode.DISABLE, p9100=Mode.STRICT, p8080=Mode.STRICT), proxy=MESHED)
    assert ranges(off(found, INSPECT_TLS).not_match) == [8080, 9100]


def test_a_port_that_no_service_lists() -> None:
    found = listener(peers(Mode.PERMISSIVE, p7777=Mode.STRICT), proxy=MESHED)
    assert ways(found, 7777) == [("tls", True), ("tls", True)]
    clusters = {chain.filters[-1].name for chain in found.filter_chains}
    assert len(clusters) == 2
    found = listener(peers(Mode.DISABLE, p7777=Mode.STRICT), proxy=MESHED)
    assert ranges(off(found, INSPECT_TLS).not_match) == [7777]


def test_without_a_certificate_plain_text_is_taken_and_it_is_told() -> None:
    policy = made("PeerAuthentication", "shop/p", mtls={"mode": "STRICT"})
    enforced = gather(world(policy), kind(), ())
    found = inbound.virtual_inbound(given.inbound(*ONE_OF_EACH, security=enforced))
    assert found is not None
    assert set(ways(protos.Listener.FromString(found.body), 9100)) == {("raw_buffer", False)}
    told = [each for each in found.decisions if each.subject == "inbound mutual TLS"]
    assert [(each.winner, "plain text is accepted" in each.rule) for each in told] == [(policy.ref, True)]
    certified = inbound.virtual_inbound(given.inbound(*ONE_OF_EACH, security=enforced, proxy=MESHED))
    assert certified is not None
    assert not certified.decisions


DENY = made("AuthorizationPolicy", "shop/d", action="DENY", rules=[{"to": [{"operation": {"ports": ["1"]}}]}])


def http_filters(chain: Any) -> list[str]:
    manager = protos.HttpConnectionManager()
    assert chain.filters[-1].typed_config.Unpack(manager)
    return [each.name for each in manager.http_filters]


def test_policies_are_enforced_in_every_chain_but_the_black_hole() -> None:
    found = inbound.virtual_inbound(given.inbound(*ONE_OF_EACH, security=gather(world(DENY), kind(), ())))
    assert found is not None
    hole, *others = protos.Listener.FromString(found.body).filter_chains
    assert [each.name for each in hole.filters] == ["envoy.filters.network.tcp_proxy"]
    for chain in others:
        names = [each.name for each in chain.filters]
        if len(names) == 2:
            assert names == [RBAC, "envoy.filters.network.tcp_proxy"]
        else:
            assert http_filters(chain)[:2] == [HTTP_RBAC, "envoy.filters.http.grpc_stats"]
    origins = [each.path for each in found.origins if each.ref == DENY.ref]
    assert origins == [f"filter_chains[{i}].filters" for i in range(1, len(others) + 1)]


@pytest.mark.parametrize("mode", [Mode.PERMISSIVE, Mode.STRICT, Mode.DISABLE])
def test_listeners_that_bind_their_own_address(mode: Mode) -> None:
    proxy = given.proxy(mtls=True, interception=Interception.NONE)
    sidecar = given.sidecar(ingress=[{"port": {"number": 8080, "protocol": "HTTP", "name": "p"}, "bind": "127.0.0.1"}])
    (made_one,) = inbound.inbound_listeners(given.inbound(sidecar=sidecar, proxy=proxy, security=peers(mode)))
    found = protos.Listener.FromString(made_one.body)
    names = [each.name for each in found.listener_filters]
    assert names == ([] if mode is Mode.DISABLE else [INSPECT_TLS])
    assert len(found.filter_chains) == (2 if mode is Mode.PERMISSIVE else 1)
