"""Persistent sessions, which Services ask for by a label."""

from typing import Any

import pytest

from tests.unit.envoy import given
from tests.worlds import Shop, routing, service
from tidegate.envoy import clusters, endpoints, protos, sessions
from tidegate.registry.model import Health

COOKIE, HEADER = "istio.io/persistent-session", "istio.io/persistent-session-header"


def state(found: Any) -> Any:
    config = found.stateful_session.session_state.typed_config
    kind = protos.CookieSession if config.TypeName().endswith("CookieBasedSessionState") else protos.HeaderSession
    return kind.FromString(config.value)


@pytest.mark.parametrize(
    ("value", "name", "path"), [("site", "site", "/"), ("site:/cart", "site", "/cart"), ("site:", "site", "")]
)
def test_a_cookie_may_have_a_path(value: str, name: str, path: str) -> None:
    cookie = state(sessions.per_route([given.service(labels=((COOKIE, value),))])).cookie
    assert (cookie.name, cookie.path) == (name, path)


def test_a_header_where_there_is_no_cookie() -> None:
    assert state(sessions.per_route([given.service(labels=((HEADER, "x-session"),))])).name == "x-session"
    assert sessions.per_route([given.service(), None]) is None


def test_of_several_destinations_the_first_that_asks_counts() -> None:
    one, other = (given.service(labels=((HEADER, name),)) for name in ("one", "other"))
    assert state(sessions.per_route([one, other])).name == "one"
    assert state(sessions.per_route([None, other])).name == "other"


def shop(**changes: Any) -> Shop:
    return Shop(
        service("shop/a", (8000, "http"), address="10.96.0.1", labels={COOKIE: "site"}),
        service("shop/b", (8000, "http"), address="10.96.0.2"),
        routing("shop/b", ["b"], "a.shop.svc.cluster.local:8000"),
        **changes,
    )


def filters_of(found: Shop) -> list[str]:
    chain = found.listener("0.0.0.0_8000").filter_chains[0]
    return [f.name for f in protos.HttpConnectionManager.FromString(chain.filters[-1].typed_config.value).http_filters]


def test_the_filter_stands_before_the_router_and_hosts_and_routes_fill_it_in() -> None:
    found = shop(sessions=True)
    assert filters_of(found)[-2:] == [sessions.FILTER, "envoy.filters.http.router"]
    hosts = {h.name.partition(".")[0]: h for h in found.route("8000").virtual_hosts if h.routes}
    assert sessions.FILTER in hosts["a"].typed_per_filter_config
    assert sessions.FILTER not in hosts["b"].typed_per_filter_config
    assert sessions.FILTER in hosts["b"].routes[0].typed_per_filter_config


def test_without_the_switch_nothing_is_kept() -> None:
    found = shop()
    assert sessions.FILTER not in filters_of(found)
    assert not any(h.typed_per_filter_config for h in found.route("8000").virtual_hosts)


def test_endpoints_that_go_stay_known_to_clients_that_come_back() -> None:
    owner = given.service(labels=((COOKIE, "site"),))
    cluster = protos.Cluster.FromString(clusters.build(given.cluster(service=owner)).body)
    assert list(cluster.common_lb_config.override_host_status.statuses) == [1, 3, 0, 5]
    going = given.endpoint("10.0.0.1", health=Health.DRAINING)
    kept = protos.ClusterLoadAssignment.FromString(endpoints.build(given.assignment(going, service=owner)).body)
    assert [e.health_status for place in kept.endpoints for e in place.lb_endpoints] == [3]
    assert not protos.ClusterLoadAssignment.FromString(endpoints.build(given.assignment(going)).body).endpoints
