"""What one proxy is shown."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from immutables import Map

from tidegate.envoy import protos
from tidegate.envoy.resource import CLUSTER, LISTENER, ROUTE, Resource
from tidegate.envoy.view import Names, ProxyView

OWN = ("10.1.0.1", "fd00::1")


def named(url: str, name: str, body: bytes = b"x") -> Resource:
    return Resource(name, url, body, "1")


def view(outbound: dict[str, list[str]], own: dict[str, list[str]] | None = None) -> ProxyView:
    shared = {url: Map({n: named(url, n) for n in names}) for url, names in outbound.items()}
    mine = {url: {n: named(url, n, b"own") for n in names} for url, names in (own or {}).items()}
    return ProxyView("7", shared, mine, OWN)


class TestHidden:
    """A listener on the proxy's own address would send what leaves it back to itself."""

    @pytest.mark.parametrize("name", ["10.1.0.1_3306", "fd00::1_80"])
    def test_the_own_addresss_listener(self, name: str) -> None:
        found = view({LISTENER: [name, "10.1.0.2_3306"]})
        assert list(found.names(LISTENER)) == ["10.1.0.2_3306"]
        assert not found.lists(LISTENER, name)
        assert found.get(LISTENER, name) is None

    def test_not_that_of_an_address_that_only_begins_alike(self) -> None:
        assert view({LISTENER: ["10.1.0.11_80"]}).lists(LISTENER, "10.1.0.11_80")

    def test_nor_one_of_its_own_making(self) -> None:
        """A Sidecar's ingress listener is bound to the Pod's address."""
        found = view({LISTENER: ["10.1.0.1_80"]}, {LISTENER: ["10.1.0.1_80"]})
        assert list(found.names(LISTENER)) == ["10.1.0.1_80"]
        resource = found.get(LISTENER, "10.1.0.1_80")
        assert resource is not None
        assert resource.body == b"own"

    def test_nor_resources_of_other_types(self) -> None:
        assert view({CLUSTER: ["10.1.0.1_80"]}).lists(CLUSTER, "10.1.0.1_80")


class TestGet:
    def test_an_unknown_route_is_empty_never_missing(self) -> None:
        """Envoy holds a listener back until the routes that it asked for are answered."""
        found = view({}).get(ROUTE, "12345")
        assert found is not None
        config = protos.RouteConfiguration.FromString(found.body)
        assert (config.name, len(config.virtual_hosts)) == ("12345", 0)
        assert not view({}).lists(ROUTE, "12345")

    def test_other_unknown_names_are_missing(self) -> None:
        assert view({}).get(CLUSTER, "x") is None
        assert view({CLUSTER: ["y"]}).get(LISTENER, "y") is None

    def test_outbound_first_inbound_last(self) -> None:
        found = view({CLUSTER: ["outbound"]}, {CLUSTER: ["inbound"]})
        assert list(found.names(CLUSTER)) == ["outbound", "inbound"]


names = st.lists(st.sampled_from([f"{a}_{p}" for a in (*OWN, "10.1.0.2", "0.0.0.0") for p in (80, 81)]), unique=True)


@given(names, names)
def test_containment_is_iteration(shared: list[str], own: list[str]) -> None:
    found = Names(shared, own, OWN)
    listed: list[Any] = list(found)
    everything = {*shared, *own, "other", "10.1.0.1_9"}
    assert {n for n in everything if n in found} == set(listed)
    assert len(found) == len(listed)
    assert len(set(listed)) == len(listed), "a name is listed once"
