"""Configuration of other Envoy versions, and extensions of others: explained as far as it goes, the rest named."""

from typing import Any

import pytest

from tests.unit.explain.worlds import NETWORK, at, chain, cluster, extension, get, hcm, host, listener, route, tcp
from tidegate.explain.config import read_config
from tidegate.explain.connection import TlsHello
from tidegate.explain.interpret import interpret
from tidegate.explain.trace import Trace

Json = dict[str, Any]
ADMIN = "type.googleapis.com/envoy.admin."


def dump(
    *listeners: Json, clusters: tuple[Json, ...] = (), api: str = "v3", entries: str = "dynamic_listeners"
) -> Json:
    """A configuration dump with the field names of protobuf."""
    ours: Json = {"@type": f"{ADMIN}{api}.ListenersConfigDump", entries: list(listeners)}
    theirs = {"@type": f"{ADMIN}{api}.ClustersConfigDump"}
    return {"configs": [ours, {**theirs, "dynamic_active_clusters": [{"cluster": each} for each in clusters]}]}


def active(*filters: Json, **rest: Any) -> Json:
    return {"name": "l", "active_state": {"listener": listener("l", "0.0.0.0", 80, chain(*filters, **rest))}}


def asked(whole: Json, **connection: Any) -> Trace:
    return interpret(read_config(whole), at(**(connection or {"http": get()})))


def told(trace: Trace) -> str:
    return "; ".join(f"{each.where}: {each.why}" for each in trace.unknown)


WEB = hcm(host(route()))
OLD = "type.googleapis.com/envoy.config.filter.network.tcp_proxy.v2.TcpProxy"
UNTYPED = {"name": "envoy.http_connection_manager", "config": {"route_config": {}}}


@pytest.mark.parametrize(
    ("filters", "kind", "named"),
    [
        ([extension(OLD, cluster="c")], "unknown", "tcp_proxy.v2.TcpProxy is not known here"),
        ([UNTYPED], "unknown", "the field config is of another Envoy version"),
        ([extension("type.googleapis.com/acme.Thing")], "unknown", "acme.Thing is not known here"),
        ([extension("type.googleapis.com/acme.Thing"), WEB], "forwarded", "acme.Thing is not known here"),
        ([extension(NETWORK + "sni_cluster.v3.SniCluster")], "closed", ""),
    ],
)
def test_filters_that_are_not_known(filters: list[Json], kind: str, named: str) -> None:
    found = asked(dump(active(*filters), clusters=(cluster(),)))
    assert found.end.kind == kind
    assert named in told(found) and bool(named) == bool(found.unknown)


def test_tls_that_a_chain_has_in_an_older_field_is_named() -> None:
    found = asked(dump(active(tcp(), tls_context={}), clusters=(cluster(),)), tls=TlsHello("a.test"))
    assert "filterChains[0]: the field tls_context is of another Envoy version" in told(found)


def test_endpoints_that_a_cluster_has_in_an_older_field_are_named() -> None:
    old = {"name": "c", "type": "STATIC", "hosts": [{"socketAddress": {"address": "10.0.0.9", "portValue": 80}}]}
    found = asked(dump(active(WEB), clusters=(old,)))
    assert found.end.kind == "no_endpoints" and "Cluster c: the field hosts is of another" in told(found)


def test_a_condition_of_a_chain_that_is_not_known_is_named() -> None:
    found = asked(dump(active(WEB, filterChainMatch={"acme_match": {"x": 1}}), clusters=(cluster(),)))
    assert "filterChainMatch.acmeMatch is not known here" in told(found)


def test_the_listeners_of_the_second_version_are_read() -> None:
    entry = {"version_info": "1", "listener": listener("l", "0.0.0.0", 80, chain(WEB)), "last_updated": "x"}
    found = asked(dump(entry, clusters=(cluster(),), api="v2alpha", entries="dynamic_active_listeners"))
    assert found.end.kind == "forwarded" and not found.unknown


def test_entries_of_another_name_are_named() -> None:
    found = asked(dump(active(WEB), entries="later_listeners"))
    assert found.end.kind == "no_listener"
    assert "configs[0]: the field later_listeners of ListenersConfigDump is not known here" in told(found)


def test_a_listener_that_is_not_in_use_is_named_where_none_takes_the_connection() -> None:
    waiting = {"name": "l", "error_state": {"details": "refused"}}
    assert "l is not active" in told(asked(dump(waiting)))
    other = {**active(WEB), "name": "m"}
    assert not asked(dump(waiting, other, clusters=(cluster(),))).unknown, "where one does, others are no matter"
