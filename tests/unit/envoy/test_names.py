"""The name table: what names proxies are told of, and what a change costs."""

from tests.unit.envoy import given
from tidegate.envoy import names
from tidegate.kit.nametable import NameInfo, decode
from tidegate.registry.model import Health, Part, Registry, Resolution, ServiceKey

CAPTURING = given.proxy(dns_capture=True)


def told(*services, endpoints=(), proxy=CAPTURING):
    return dict(names.of_host(services, lambda _: endpoints, proxy))


def external(**changes):
    fields = {"registry": Registry.EXTERNAL, "resolution": Resolution.DNS, "addresses": ()}
    return given.service("db.example.com", key=ServiceKey("shop", "db.example.com"), **fields | changes)


def test_a_service_gives_its_address():
    service = given.service(addresses=("10.96.0.1",), name="orders")
    assert told(service) == {service.host: NameInfo(("10.96.0.1",), "Kubernetes", "orders", "shop")}


def test_a_host_that_dns_resolves_is_left_to_dns():
    assert told(external()) == {}


def test_an_allocated_address_counts_for_proxies_that_answer_dns():
    service = external(auto_addresses=("240.240.0.1", "2001:2::1"))
    assert told(service) == {service.host: NameInfo(("240.240.0.1",), "External")}
    assert told(service, proxy=given.proxy()) == {}


def test_networks_are_no_addresses():
    assert told(external(addresses=("10.0.0.0/8",))) == {}
    assert told(external(addresses=("10.0.0.0/8", "10.1.1.1")))["db.example.com"].ips == ("10.1.1.1",)


def test_entries_that_share_a_host_are_found_at_all_their_addresses():
    parts = (Part((1,), (), ("240.240.0.1",)), Part((2,), (), ("240.240.0.2",)))
    assert told(external(parts=parts))["db.example.com"].ips == ("240.240.0.1", "240.240.0.2")


def test_a_headless_service_gives_its_ready_pods_each_with_its_name():
    service = given.service(addresses=(), resolution=Resolution.PASSTHROUGH, name="db")
    ends = [
        given.endpoint("10.0.0.1", hostname="db-0", subdomain="db"),
        given.endpoint("10.0.0.2", hostname="db-1", subdomain="db", health=Health.UNHEALTHY),
        given.endpoint("10.0.0.3"),
    ]
    found = told(service, endpoints=ends)
    rest = service.host.partition(".")[2]
    assert found[service.host].ips == ("10.0.0.1", "10.0.0.3")
    assert found[f"db-0.db.{rest}"] == NameInfo(("10.0.0.1",), "Kubernetes", "db-0.db", "shop")
    assert len(found) == 2


def test_a_resource_is_called_like_the_name():
    info = NameInfo(("10.0.0.1",), "External")
    made = names.resource_of("a.example", info)
    assert decode(made.name, made.body) == {"a.example": info}
