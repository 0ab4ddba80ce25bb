"""Endpoints of other networks are called by the gateways of their network."""

from tests.unit.envoy import given
from tidegate.api.objects import Ref
from tidegate.envoy import endpoints, protos
from tidegate.registry import networks
from tidegate.registry.networks import NetworkGateway

SERVICE = Ref("Service", "istio-system", "eastwest")
ONE = networks.joined([NetworkGateway("192.0.2.1", 15443, "far", source=SERVICE)])
TWO = networks.joined([NetworkGateway("192.0.2.1", 15443, "far"), NetworkGateway("2001:db8::1", 15443, "far")])


def near(address="10.0.0.1", **more):
    return given.endpoint(address, network="near", tls_mode="istio", **more)


def far(address="10.1.0.1", **more):
    return given.endpoint(address, **{"network": "far", "tls_mode": "istio", **more})


def called(*members, networks=ONE, network="near", mtls=True, **changes):
    """Address and weight of each endpoint, by locality."""
    proxy = given.proxy(network=network, mtls=mtls, **changes.pop("proxy", {}))
    resource = endpoints.build(given.assignment(*members, networks=networks, proxy=proxy, **changes))
    message = protos.ClusterLoadAssignment.FromString(resource.body)
    return [
        (m.endpoint.address.socket_address.address, m.load_balancing_weight.value)
        for place in message.endpoints
        for m in place.lb_endpoints
    ]


def test_endpoints_of_another_network_become_its_gateway_with_their_weight():
    assert called(near(), far(), far("10.1.0.2", weight=4)) == [("10.0.0.1", 1), ("192.0.2.1", 5)]


def test_the_gateway_is_spoken_to_in_mutual_tls():
    resource = endpoints.build(given.assignment(far(), networks=ONE, proxy=given.proxy(network="near", mtls=True)))
    (member,) = protos.ClusterLoadAssignment.FromString(resource.body).endpoints[0].lb_endpoints
    assert member.endpoint.address.socket_address.port_value == 15443
    match = member.metadata.filter_metadata["envoy.transport_socket_match"]
    assert match.fields["tlsMode"].string_value == "istio"
    assert member.health_status == 0


def test_without_mutual_tls_nobody_is_behind_a_gateway():
    assert called(near(), far(), mtls=False) == [("10.0.0.1", 1)]
    assert called(far(tls_mode="disabled")) == []
    assert called(far(), rule=given.rule({"tls": {"mode": "DISABLE"}})) == []
    assert called(far(), rule=given.rule({"tls": {"mode": "ISTIO_MUTUAL"}})) == [("192.0.2.1", 1)]


def test_a_network_without_gateways_is_called_directly():
    assert called(far(network="other"), far(network="")) == [("10.1.0.1", 1), ("10.1.0.1", 1)]
    assert called(far(), networks=networks.Networks(), mtls=False) == [("10.1.0.1", 1)]


def test_a_proxy_of_no_network_enters_each_by_its_gateway():
    assert called(near(), far(), network="") == [("10.0.0.1", 1), ("192.0.2.1", 1)]


def test_weights_are_shared_among_gateways_of_the_proxys_family():
    dual = {"ipv6": True}
    assert called(near(), far(weight=3), networks=TWO, proxy=dual) == [
        ("10.0.0.1", 2),
        ("192.0.2.1", 3),
        ("2001:db8::1", 3),
    ]
    assert called(far(weight=3), networks=TWO) == [("192.0.2.1", 6)]
    assert called(far(weight=3), networks=TWO, proxy={"ipv4": False, "ipv6": True}) == [("2001:db8::1", 6)]


def test_each_locality_has_its_own_share():
    members = (far(locality="eu/a"), far("10.1.0.2", locality="eu/b", weight=2))
    assert called(*members) == [("192.0.2.1", 1), ("192.0.2.1", 2)]


def test_an_endpoint_without_address_is_reached_by_gateways_alone():
    assert called(far("")) == [("192.0.2.1", 1)]
    assert called(far("", network="other")) == []
    assert called(far(""), networks=networks.Networks()) == []


def test_a_view_of_some_networks_leaves_the_others_out():
    view = {"network_view": frozenset({"near"})}
    assert called(near(), far(), given.endpoint("10.2.0.1"), proxy=view) == [("10.0.0.1", 1), ("10.2.0.1", 1)]


def test_weights_do_not_overflow():
    largest = 2**32 - 1
    assert called(near(weight=largest), networks=TWO, proxy={"ipv6": True}) == [("10.0.0.1", largest)]
