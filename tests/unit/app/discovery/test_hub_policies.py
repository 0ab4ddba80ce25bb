"""Security policies in the hub: who is told of a change."""

import json
from typing import Any

import pytest

from tests.unit.app.discovery.test_hub import Stage, names, ports
from tests.worlds import Shop, entry, gone, made, mesh, pod, put, service
from tidegate.envoy import protos
from tidegate.envoy.resource import CLUSTER, ENDPOINT, LISTENER

INBOUND = {LISTENER: {"virtualInbound"}}


def deny(where: str, app: str = "", number: str = "80") -> Any:
    selector = {"selector": {"matchLabels": {"app": app}}} if app else {}
    return made("AuthorizationPolicy", where, action="DENY", rules=[to(number)], **selector)


def to(number: str) -> dict[str, Any]:
    return {"to": [{"operation": {"ports": [number]}}]}


class TestAuthorization:
    async def test_only_selected_workloads_are_told(self) -> None:
        pods = [pod("shop/a", "10.1.0.1", {"app": "a"}), pod("shop/b", "10.1.0.2", {"app": "b"})]
        stage = Stage(*pods, pod("else/c", "10.1.0.3", {"app": "a"}))
        shown = [stage.attach("a"), stage.attach("b"), stage.attach("c", "else")]
        before = stage.hub.builders.built["tidegate.envoy.inbound.virtual_inbound"]
        stage.apply(deny("shop/d", "a"))
        assert [await names(each) for each in shown] == [INBOUND, None, None]
        assert stage.hub.builders.built["tidegate.envoy.inbound.virtual_inbound"] == before + 1
        stage.apply(gone(deny("shop/d", "a")))
        assert [await names(each) for each in shown] == [INBOUND, None, None]

    async def test_the_root_namespace_speaks_to_all(self) -> None:
        stage = Stage(pod("shop/a", "10.1.0.1"), pod("else/c", "10.1.0.3"))
        shown = [stage.attach("a"), stage.attach("c", "else")]
        stage.apply(deny("istio-system/d"))
        assert [await names(each) for each in shown] == [INBOUND, INBOUND]

    async def test_a_change_of_labels_changes_what_holds(self) -> None:
        stage = Stage(pod("shop/a", "10.1.0.1", {"app": "a"}), deny("shop/d", "b"))
        shown = stage.attach("a")
        stage.apply(pod("shop/a", "10.1.0.1", {"app": "b"}))
        assert await names(shown) == INBOUND

    async def test_an_authorizer_that_comes_to_be_is_asked_from_then_on(self) -> None:
        provider = {"name": "x", "envoyExtAuthzHttp": {"service": "asked.example", "port": 80}}
        custom = made("AuthorizationPolicy", "shop/c", action="CUSTOM", provider={"name": "x"}, rules=[to("80")])
        stage = Stage(mesh(json.dumps({"extensionProviders": [provider]})), pod("shop/a", "10.1.0.1"), custom)
        shown = stage.attach("a")
        stage.apply(entry("else/other", "other.example"))
        found = await names(shown)
        assert found is not None
        assert "virtualInbound" not in found.get(LISTENER, ())
        stage.apply(entry("else/asked", "asked.example"))
        found = await names(shown)
        assert found is not None
        assert "virtualInbound" in found[LISTENER]


class TestTokens:
    async def test_a_key_server_comes_with_its_policy(self) -> None:
        stage = Stage(pod("shop/a", "10.1.0.1", **{"containers": ports()}))
        shown = stage.attach("a")
        policy = made("RequestAuthentication", "shop/t", jwtRules=[{"jwksUri": "https://idp.example/keys"}])
        stage.apply(policy)
        cluster = "jwks|443|https|idp.example"
        assert await names(shown) == {**INBOUND, CLUSTER: {cluster}}
        assert cluster in shown.mailbox.view.names(CLUSTER)
        stage.apply(gone(policy))
        assert await names(shown) == {**INBOUND, CLUSTER: {cluster}}
        assert cluster not in shown.mailbox.view.names(CLUSTER)


def peer(where: str, mode: str, app: str = "", **more: Any) -> Any:
    selector = {"selector": {"matchLabels": {"app": app}}} if app else {}
    return made("PeerAuthentication", where, mtls={"mode": mode}, **selector, **more)


def slice_of(app: str, address: str) -> Any:
    return made(
        "EndpointSlice",
        f"shop/{app}-1",
        labels={"kubernetes.io/service-name": app},
        addressType="IPv4",
        ports=[{"name": "http", "port": 8080, "protocol": "TCP"}],
        endpoints=[{"addresses": [address], "targetRef": {"kind": "Pod", "name": app, "namespace": "shop"}}],
    )


MESHED = {"security.istio.io/tlsMode": "istio"}
ORDERS = "outbound|80||orders.shop.svc.cluster.local"
PAY = "outbound|80||pay.shop.svc.cluster.local"


def shop(**kind: Any) -> Shop:
    objects = [
        each
        for app, address in (("orders", "10.1.0.1"), ("pay", "10.1.0.2"))
        for each in (
            service(f"shop/{app}", address=f"10.96.0.{address[-1]}"),
            pod(f"shop/{app}", address, {"app": app, **MESHED}),
            slice_of(app, address),
        )
    ]
    return Shop(*objects, namespace="front", **kind)


def meshed(found: Shop, name: str) -> list[bool]:
    """Whether each endpoint is reached by mutual TLS."""
    message = protos.ClusterLoadAssignment.FromString(found.view.resources[ENDPOINT][name].body)
    return [
        "envoy.transport_socket_match" in member.metadata.filter_metadata
        for place in message.endpoints
        for member in place.lb_endpoints
    ]


def offers(found: Shop, name: str) -> bool:
    return bool(found.cluster(name).transport_socket_matches)


class TestCallers:
    """What a PeerAuthentication of a server's does to those who call it, and have certificates."""

    def test_a_workload_that_refuses_mutual_tls_is_reached_without(self) -> None:
        found = shop(mtls=True)
        assert (meshed(found, ORDERS), meshed(found, PAY)) == ([True], [True])
        policy = peer("shop/w", "DISABLE", app="pay")
        assert found.advance(put(policy)) == {ENDPOINT: frozenset({PAY})}
        assert (meshed(found, ORDERS), meshed(found, PAY)) == ([True], [False])
        assert offers(found, PAY)
        assert found.advance(gone(policy)) == {ENDPOINT: frozenset({PAY})}

    def test_a_namespace_that_switches_it_off(self) -> None:
        found = shop(mtls=True)
        told = found.advance(put(peer("shop/n", "DISABLE")))
        assert told == {ENDPOINT: frozenset({ORDERS, PAY}), CLUSTER: frozenset({ORDERS, PAY})}
        assert not offers(found, PAY)
        found.advance(put(peer("shop/w", "STRICT", app="pay")))
        assert (meshed(found, ORDERS), meshed(found, PAY)) == ([False], [True])

    def test_the_root_namespace(self) -> None:
        found = shop(mtls=True)
        found.advance(put(peer("istio-system/m", "DISABLE")))
        assert not offers(found, ORDERS)
        found.advance(put(peer("shop/n", "PERMISSIVE")))
        assert offers(found, ORDERS)

    def test_incremental_equals_from_scratch(self) -> None:
        found = shop(mtls=True)
        for event in (put(peer("istio-system/m", "DISABLE")), put(peer("shop/w", "STRICT", app="pay"))):
            found.advance(event)
        before = {url: {n: r.version for n, r in of.items()} for url, of in found.view.resources.items()}
        found.view._rebuild()
        assert before == {url: {n: r.version for n, r in of.items()} for url, of in found.view.resources.items()}

    @pytest.mark.parametrize("mode", ["STRICT", "DISABLE"])
    def test_those_without_certificates_see_no_difference(self, mode: str) -> None:
        found = shop()
        assert found.advance(put(peer("istio-system/m", mode)), put(peer("shop/n", mode))) == {}
