"""What patches make of a cluster, a listener and a route configuration, and where the parts come from then."""

from typing import Any

import pytest

from tests.unit.envoy.patches.given import (
    GATEWAY,
    INBOUND,
    LIMIT,
    LUA,
    MANAGER,
    MANAGER_TYPE,
    OUTBOUND,
    ROUTER,
    apply,
    chain,
    cluster,
    host,
    http_filters,
    listener,
    manager,
    patch,
    patch_set,
    read,
    routes,
)
from tidegate.api.objects import Ref
from tidegate.envoy import protos
from tidegate.envoy.patches.resources import Patcher, added
from tidegate.envoy.resource import CLUSTER, LISTENER, ROUTE, VIRTUAL_HOST, Origin, resource
from tidegate.envoy.routes import route_config

FILTER = Ref("EnvoyFilter", "shop", "f")
WEB = "outbound|80|v1|web.shop"


class TestClusters:
    @pytest.mark.parametrize(
        ("match", "met"),
        [
            ({}, True),
            ({"name": WEB}, True),
            ({"name": "outbound|80||web.shop"}, False),
            ({"service": "web.shop", "portNumber": 80, "subset": "v1"}, True),
            ({"service": "web.shop", "portNumber": 81}, False),
            ({"subset": "v2"}, False),
            ({"service": "other.shop"}, False),
            ({"name": WEB, "service": "other.shop"}, True),
        ],
    )
    def test_a_merge_finds_its_cluster(self, match: dict[str, Any], met: bool) -> None:
        change = patch("CLUSTER", "MERGE", {"alt_stat_name": "patched"}, cluster=match)
        assert read(apply(cluster(WEB), change), protos.Cluster).alt_stat_name == ("patched" if met else "")

    def test_an_inbound_cluster_is_found_by_the_service_it_is_for(self) -> None:
        change = patch("CLUSTER", "MERGE", {"alt_stat_name": "patched"}, cluster={"service": "web.shop"})
        found = apply(cluster("inbound|8080||"), change, context=INBOUND, hosts=("web.shop",))
        assert read(found, protos.Cluster).alt_stat_name == "patched"
        assert not apply(cluster("inbound|8080||"), change, context=INBOUND).applied

    def test_one_is_removed(self) -> None:
        assert apply(cluster("a"), patch("CLUSTER", "REMOVE", cluster={"name": "a"})).resource is None

    def test_one_that_no_patch_concerns_stays_the_same_object(self) -> None:
        given = cluster("a")
        found = apply(given, patch("CLUSTER", "MERGE", {"alt_stat_name": "x"}, cluster={"name": "b"}))
        assert found.resource is given and not found.applied

    def test_the_context_decides(self) -> None:
        change = patch("CLUSTER", "MERGE", {"alt_stat_name": "x"}, context="SIDECAR_INBOUND")
        assert not apply(cluster("a"), change).applied
        assert apply(cluster("a"), change, context=INBOUND).applied

    def test_it_names_the_filter_as_an_origin(self) -> None:
        found = apply(cluster("a"), patch("CLUSTER", "REMOVE", cluster={"name": "b"}), patch("CLUSTER", "MERGE", {}))
        assert found.resource is not None
        assert found.resource.origins == (Origin("", FILTER, "spec.configPatches[1]"),)

    def test_what_is_added_in_no_context_in_particular_is_added_outbound(self) -> None:
        made = patch_set(patch("CLUSTER", "ADD", {"name": "sink"}))
        assert [r.name for r, _ in added(made.within(GATEWAY), CLUSTER)] == ["sink"]
        assert not list(added(made.within(INBOUND), CLUSTER))


def http(operation: str, name: str = "new", sub: str = "", **match: Any) -> dict[str, Any]:
    """A patch of HTTP filters that inserts a Lua filter, or removes ``sub``."""
    wanted: dict[str, Any] = {"name": MANAGER}
    if sub:
        wanted["subFilter"] = {"name": f"envoy.filters.http.{sub}"}
    value = None if operation == "REMOVE" else {"name": name, "typed_config": {"@type": LUA}}
    return patch("HTTP_FILTER", operation, value, listener={**match, "filterChain": {"filter": wanted}})


WEB_LISTENER = listener("0.0.0.0_80", 80, chain(manager("fault", "cors", "router")))


class TestHttpFilters:
    @pytest.mark.parametrize(
        ("change", "names"),
        [
            (http("INSERT_FIRST"), ["new", "fault", "cors", "router"]),
            (http("INSERT_BEFORE"), ["new", "fault", "cors", "router"]),
            (http("INSERT_AFTER"), ["fault", "cors", "router", "new"]),
            (http("ADD"), ["fault", "cors", "router", "new"]),
            (http("INSERT_BEFORE", sub="router"), ["fault", "cors", "new", "router"]),
            (http("INSERT_AFTER", sub="fault"), ["fault", "new", "cors", "router"]),
            (http("INSERT_AFTER", sub="absent"), ["fault", "cors", "router"]),
            (http("REPLACE", sub="cors"), ["fault", "new", "router"]),
            (http("REPLACE"), ["fault", "cors", "router"]),
            (http("REMOVE", sub="cors"), ["fault", "router"]),
            (http("REMOVE"), ["fault", "cors", "router"]),
            (http("INSERT_FIRST", portNumber=80), ["new", "fault", "cors", "router"]),
            (http("INSERT_FIRST", portNumber=81), ["fault", "cors", "router"]),
        ],
    )
    def test_they_are_placed(self, change: dict[str, Any], names: list[str]) -> None:
        assert http_filters(read(apply(WEB_LISTENER, change), protos.Listener)) == names

    def test_several_are_placed_in_the_order_of_the_patches(self) -> None:
        found = apply(WEB_LISTENER, http("INSERT_FIRST", "one"), http("INSERT_FIRST", "two"))
        assert http_filters(read(found, protos.Listener))[:2] == ["two", "one"]

    def test_one_is_merged_by_its_old_name_too(self) -> None:
        value = {"typed_config": {"@type": ROUTER, "suppress_envoy_headers": True}}
        wanted = {"name": MANAGER, "subFilter": {"name": "envoy.router"}}
        found = apply(WEB_LISTENER, patch("HTTP_FILTER", "MERGE", value, listener={"filterChain": {"filter": wanted}}))
        network = read(found, protos.Listener).filter_chains[0].filters[0]
        config = protos.HttpConnectionManager.FromString(network.typed_config.value)
        assert protos.Router.FromString(config.http_filters[2].typed_config.value).suppress_envoy_headers

    def test_another_type_is_told_and_changes_nothing(self) -> None:
        wanted = {"name": MANAGER, "subFilter": {"name": "envoy.filters.http.cors"}}
        value = {"typed_config": {"@type": ROUTER}}
        found = apply(WEB_LISTENER, patch("HTTP_FILTER", "MERGE", value, listener={"filterChain": {"filter": wanted}}))
        assert found.resource is WEB_LISTENER
        ((failed, why),) = found.failed
        assert failed.field == "spec.configPatches[0]" and "Router" in why


class TestListeners:
    def test_the_port_of_a_capturing_listener_is_that_of_a_chain(self) -> None:
        given = listener("virtualInbound", 15006, chain(manager("router"), port=80), chain(manager("router"), port=81))
        found = read(apply(given, http("INSERT_FIRST", portNumber=81), context=INBOUND), protos.Listener)
        assert [http_filters(found, at) for at in (0, 1)] == [["router"], ["new", "router"]]

    def test_chains_are_told_apart(self) -> None:
        plain = chain(name="plain", transport_protocol="raw_buffer", application_protocols=["http/1.1", "h2c"])
        named = chain(name="named", server_names=["a.example"], transport_protocol="tls")
        given = listener("l", 443, plain, named)

        def met(**wanted: Any) -> list[bool]:
            value = {"transport_socket_connect_timeout": "3s"}
            change = patch("FILTER_CHAIN", "MERGE", value, listener={"filterChain": wanted})
            found = read(apply(given, change), protos.Listener)
            return [each.transport_socket_connect_timeout.seconds == 3 for each in found.filter_chains]

        assert met(name="named") == met(sni="a.example") == met(transportProtocol="tls") == [False, True]
        assert met(applicationProtocols="h2c,http/1.1") == [True, False]
        assert met(applicationProtocols="h2c,h3") == met(destinationPort=9) == [False, False]
        assert met() == [True, True]

    def test_network_filters_are_placed_and_merged(self) -> None:
        limit = {"name": "limit", "typed_config": {"@type": LIMIT, "stat_prefix": "l", "max_connections": 3}}
        larger = {"typed_config": {"@type": MANAGER_TYPE, "max_request_headers_kb": 96}}
        named = {"filterChain": {"filter": {"name": MANAGER}}}
        found = apply(
            WEB_LISTENER,
            patch("NETWORK_FILTER", "INSERT_BEFORE", limit, listener=named),
            patch("NETWORK_FILTER", "MERGE", larger, listener=named),
        )
        first, second = read(found, protos.Listener).filter_chains[0].filters
        assert (first.name, second.name) == ("limit", MANAGER)
        config = protos.HttpConnectionManager.FromString(second.typed_config.value)
        assert (config.stat_prefix, config.max_request_headers_kb.value) == ("http", 96)

    def test_listener_filters_are_placed(self) -> None:
        given = listener("l", 80, chain(), listener_filters=[protos.ListenerFilter(name="a")])
        inspector = f"{LUA.rpartition('/')[0]}/envoy.extensions.filters.listener.http_inspector.v3.HttpInspector"
        value = {"name": "b", "typed_config": {"@type": inspector}}
        first = patch("LISTENER_FILTER", "INSERT_BEFORE", value, listener={"listenerFilter": "a"})
        gone = patch("LISTENER_FILTER", "REMOVE", listener={"listenerFilter": "a"})
        assert [f.name for f in read(apply(given, first), protos.Listener).listener_filters] == ["b", "a"]
        assert [f.name for f in read(apply(given, first, gone), protos.Listener).listener_filters] == ["b"]

    def test_a_listener_is_merged_and_removed(self) -> None:
        change = patch("LISTENER", "MERGE", {"per_connection_buffer_limit_bytes": 9}, listener={"portNumber": 80})
        assert read(apply(WEB_LISTENER, change), protos.Listener).per_connection_buffer_limit_bytes.value == 9
        assert apply(WEB_LISTENER, patch("LISTENER", "REMOVE", listener={"name": "0.0.0.0_80"})).resource is None
        assert not apply(WEB_LISTENER, patch("LISTENER", "REMOVE", listener={"name": "other"})).applied

    def test_the_default_chain_is_patched_and_removed_as_others_are(self) -> None:
        given = listener("l", 80, default_filter_chain=chain(manager("router"), name="rest"))
        found = read(apply(given, http("INSERT_FIRST")), protos.Listener)
        found.filter_chains.append(found.default_filter_chain)
        assert http_filters(found) == ["new", "router"]
        gone = apply(given, patch("FILTER_CHAIN", "REMOVE", listener={"filterChain": {"name": "rest"}}))
        assert not read(gone, protos.Listener).HasField("default_filter_chain")

    def test_chains_are_added_and_origins_follow_those_that_moved(self) -> None:
        origins = tuple(Origin(f"filter_chains[{n}]", Ref("Service", "shop", str(n)), "") for n in (0, 1))
        given = listener("l", 443, chain(name="zero"), chain(name="one"), origins=origins)
        found = apply(
            given,
            patch("FILTER_CHAIN", "REMOVE", listener={"filterChain": {"name": "zero"}}),
            patch("FILTER_CHAIN", "ADD", {"name": "two"}),
        )
        assert [c.name for c in read(found, protos.Listener).filter_chains] == ["one", "two"]
        assert found.resource is not None
        assert set(found.resource.origins) == {
            Origin("filter_chains[0]", Ref("Service", "shop", "1"), ""),
            Origin("", FILTER, "spec.configPatches[0]"),
            Origin("filter_chains[1]", FILTER, "spec.configPatches[1]"),
        }

    def test_routes_within_an_inbound_listener_are_patched(self) -> None:
        config = protos.RouteConfiguration(name="inbound|8080||", virtual_hosts=[host("inbound|http|80", "default")])
        given = listener("virtualInbound", 15006, chain(manager("router", route_config=config), port=8080))
        change = patch("HTTP_ROUTE", "MERGE", {"stat_prefix": "r"}, routeConfiguration={"portNumber": 8080})
        found = read(apply(given, change, context=INBOUND), protos.Listener).filter_chains[0].filters[0]
        inline = protos.HttpConnectionManager.FromString(found.typed_config.value).route_config
        assert inline.virtual_hosts[0].routes[0].stat_prefix == "r"


def in_host(vhost: str, /, **route: str) -> dict[str, Any]:
    return {"vhost": {"name": vhost, **({"route": route} if route else {})}}


class TestRoutes:
    GIVEN = routes("80", host("a:80", "one", "two"), host("b:80", "one"))

    def names(self, *patches: dict[str, Any]) -> dict[str, list[str]]:
        found = read(apply(self.GIVEN, *patches), protos.RouteConfiguration)
        return {each.name: [r.name for r in each.routes] for each in found.virtual_hosts}

    def test_routes_are_placed(self) -> None:
        new = {"name": "new", "match": {"prefix": "/"}, "direct_response": {"status": 204}}

        def place(operation: str, **route: str) -> list[str]:
            match = in_host("a:80", **route)
            return self.names(patch("HTTP_ROUTE", operation, new, routeConfiguration=match))["a:80"]

        assert place("INSERT_FIRST") == ["new", "one", "two"]
        assert place("ADD") == place("INSERT_AFTER") == ["one", "two", "new"]
        assert place("INSERT_BEFORE", name="two") == place("INSERT_AFTER", name="one") == ["one", "new", "two"]
        assert place("INSERT_AFTER", name="absent") == ["one", "two"]

    def test_they_are_removed_and_merged_before_others_come(self) -> None:
        removed = patch("HTTP_ROUTE", "REMOVE", routeConfiguration=in_host("a:80", name="one"))
        assert self.names(removed) == {"a:80": ["two"], "b:80": ["one"]}
        change = patch("HTTP_ROUTE", "MERGE", {"route": {"timeout": "5s"}}, routeConfiguration=in_host("a:80"))
        found = read(apply(self.GIVEN, change), protos.RouteConfiguration)
        assert [r.route.timeout.seconds for h in found.virtual_hosts for r in h.routes] == [5, 5, 0]
        assert found.virtual_hosts[0].routes[0].route.cluster == "c"

    def test_the_action_decides(self) -> None:
        change = patch("HTTP_ROUTE", "REMOVE", routeConfiguration=in_host("a:80", action="REDIRECT"))
        assert self.names(change)["a:80"] == ["one", "two"]

    def test_virtual_hosts_are_added_replaced_and_removed(self) -> None:
        added_host = patch("VIRTUAL_HOST", "ADD", {"name": "c", "domains": ["c"]}, routeConfiguration={"name": "80"})
        replaced = patch("VIRTUAL_HOST", "REPLACE", {"name": "B", "domains": ["b"]}, routeConfiguration=in_host("b:80"))
        removed = patch("VIRTUAL_HOST", "REMOVE", routeConfiguration={"vhost": {"domainName": "a"}})
        assert self.names(added_host, replaced, removed) == {"B": [], "c": []}

    def test_the_whole_is_merged_by_port(self) -> None:
        value = {"response_headers_to_remove": ["x"]}
        change = patch("ROUTE_CONFIGURATION", "MERGE", value, routeConfiguration={"portNumber": 80})
        assert read(apply(self.GIVEN, change), protos.RouteConfiguration).response_headers_to_remove == ["x"]
        other = patch("ROUTE_CONFIGURATION", "MERGE", value, routeConfiguration={"portNumber": 81})
        assert apply(self.GIVEN, other).resource is self.GIVEN

    @pytest.mark.parametrize(
        ("match", "met"),
        [
            ({"gateway": "ns/gw", "portNumber": 443, "portName": "https"}, True),
            ({"gateway": "ns/other"}, False),
            ({"portNumber": 80}, False),
            ({"portName": "http"}, False),
        ],
    )
    def test_a_gateways_routes_are_found_by_gateway_and_port(self, match: dict[str, Any], met: bool) -> None:
        given = routes("https.443.https.gw.ns", host("a:443", "one"))
        change = patch("ROUTE_CONFIGURATION", "MERGE", {"vhds": {}}, routeConfiguration=match)
        assert bool(apply(given, change, context=GATEWAY).applied) is met

    def test_origins_follow_routes_that_moved(self) -> None:
        origins = (Origin("virtual_hosts[0].routes[1].route.timeout", Ref("VirtualService", "shop", "v"), "spec"),)
        given = routes("80", host("a:80", "one", "two"), origins=origins)
        new = {"name": "new", "match": {"prefix": "/"}}
        found = apply(given, patch("HTTP_ROUTE", "INSERT_FIRST", new, routeConfiguration=in_host("a:80")))
        assert found.resource is not None
        assert set(found.resource.all_origins()) >= {
            Origin("virtual_hosts[0].routes[2].route.timeout", Ref("VirtualService", "shop", "v"), "spec"),
            Origin("virtual_hosts[0].routes[0]", FILTER, "spec.configPatches[0]"),
        }


def test_of_a_large_table_only_the_host_that_changed_is_patched_again() -> None:
    parts = [_part(n, "r") for n in range(20)]
    patcher = Patcher()
    patches = patch_set(patch("HTTP_ROUTE", "MERGE", {"stat_prefix": "s"}, routeConfiguration={"name": "80"}))
    first = patcher.patch(route_config("80", parts, None), patches, OUTBOUND)
    built = patcher.built
    parts[7] = _part(7, "changed")
    second = patcher.patch(route_config("80", parts, None), patches, OUTBOUND)
    assert patcher.built - built == 2, "the table, and one host"
    assert first.resource is not None and second.resource is not None
    kept = {part.version for part in first.resource.parts} & {part.version for part in second.resource.parts}
    assert len(kept) == 19


def _part(number: int, route: str) -> Any:
    return resource(f"h{number}:80", VIRTUAL_HOST, host(f"h{number}:80", route))


def test_equal_resources_and_patches_are_patched_once() -> None:
    patcher, patches = Patcher(), patch_set(patch("CLUSTER", "MERGE", {"alt_stat_name": "x"}))
    first = patcher.patch(cluster("a"), patches, OUTBOUND)
    assert patcher.patch(cluster("a"), patches, OUTBOUND) is first
    assert patcher.built == 1


def test_added_listeners_are_for_the_side_they_name() -> None:
    made = patch_set(patch("LISTENER", "ADD", {"name": "extra"}, context="SIDECAR_INBOUND"))
    assert [r.name for r, _ in added(made.within(INBOUND), LISTENER)] == ["extra"]
    assert not list(added(made.within(OUTBOUND), LISTENER))
    assert not list(added(made, ROUTE))
