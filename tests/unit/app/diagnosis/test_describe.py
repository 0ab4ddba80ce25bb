"""What is told of workloads and services, and the warnings around them."""

import pytest

from tests.worlds import entry, made, pod, policy, routing, service, sidecar
from tidegate.api.objects import Ref
from tidegate.app.diagnosis.describe import describe_service, describe_workload, find_service, find_workload
from tidegate.app.diagnosis.reading import reading
from tidegate.cli.describe import _service_words
from tidegate.kit.errors import TidegateError

HOST = "reviews.shop.svc.cluster.local"
SYNCED = {"Cluster": "SYNCED"}


def slices(where, **addresses):
    namespace, _, name = where.partition("/")
    return made(
        "EndpointSlice",
        f"{where}-1",
        labels={"kubernetes.io/service-name": name},
        addressType="IPv4",
        ports=[{"name": "http", "port": 8000}],
        endpoints=[
            {"addresses": [a], "targetRef": {"kind": "Pod", "name": p, "namespace": namespace}}
            for p, a in addresses.items()
        ],
    )


def shop(*more):
    reviews = service("shop/reviews", (9080, "http"), address="10.96.0.9", selector={"app": "reviews"})
    return reading(
        [
            reviews,
            slices("shop/reviews", v1="10.64.0.1", v2="10.64.0.2"),
            pod("shop/v1", "10.64.0.1", {"app": "reviews", "version": "v1"}),
            pod("shop/v2", "10.64.0.2", {"app": "reviews", "version": "v2"}),
            *more,
        ]
    )


SUBSETS = [{"name": name, "labels": {"version": name}} for name in ("v1", "v2", "v3")]
RULE = policy("shop/reviews", "reviews", connections=5, subsets=SUBSETS)


def workload(given, name="v1.shop", sync=SYNCED):
    return describe_workload(given, find_workload(given, name, ""), sync)


def told(given, name="reviews.shop", viewer=""):
    return describe_service(given, find_service(given, name, ""), viewer)


def test_a_workload_is_told_its_services_ports_and_subsets():
    found = workload(shop(RULE, sidecar("shop/all", ["*/*"])))
    assert (found.object, found.addresses, found.ready) == ("Pod/shop/v1", ("10.64.0.1",), True)
    assert found.sidecar == "Sidecar/shop/all"
    (facts,) = found.services
    assert (facts.objects, facts.host) == (("Service/shop/reviews",), HOST)
    (port,) = facts.ports
    assert (port.number, port.target, port.protocol, port.place) == (9080, 8000, "HTTP", "route 9080")
    assert facts.destination_rule.object == "DestinationRule/shop/reviews"
    assert facts.destination_rule.policies == ("connectionPool",)
    assert [(s.name, s.matching, s.endpoints) for s in facts.destination_rule.subsets] == [
        ("v1", True, 1),
        ("v2", False, 1),
        ("v3", False, 0),
    ]
    assert found.warnings == ()


def test_rules_are_told_in_words_and_the_oldest_holds():
    http = [
        {
            "name": "canary",
            "match": [{"uri": {"prefix": "/v2"}}, {"headers": {"end-user": {"exact": "jason"}}}],
            "route": [
                {"destination": {"host": "reviews", "subset": "v2"}, "weight": 10},
                {"destination": {"host": "reviews", "subset": "v1"}, "weight": 90},
            ],
        },
        {"redirect": {"uri": "/"}},
        {"directResponse": {"status": 503}},
    ]
    given = shop(RULE, routing("shop/a", ["reviews"], "", http=http), routing("shop/b", ["reviews"], "reviews", day=2))
    first, second = told(given).service.virtual_services
    assert first.rules == (
        "http[0] canary: uri prefix /v2 or headers end-user exact jason -> "
        f"{HOST} subset v2 weight 10, {HOST} subset v1 weight 90",
        "http[1]: everything -> redirect",
        "http[2]: everything -> answer 503",
    )
    assert (first.object, first.holds, second.object, second.holds) == (
        "VirtualService/shop/a",
        True,
        "VirtualService/shop/b",
        False,
    )


def test_tls_and_tcp_rules_have_words_too():
    tls = [{"match": [{"sniHosts": ["a.example"]}], "route": [{"destination": {"host": "a.example"}}]}]
    tcp = [{"match": [{"port": 7000}], "route": [{"destination": {"host": "a.example", "port": {"number": 7001}}}]}]
    rule = made("VirtualService", "shop/a", hosts=["a.example"], tls=tls, tcp=tcp)
    given = reading([entry("shop/a", "a.example", (443, "TLS"), (7000, "TCP"), (7001, "TCP")), rule])
    assert told(given, "a.example").service.virtual_services[0].rules == (
        "tls[0]: server name a.example -> a.example",
        "tcp[0]: port 7000 -> a.example:7001",
    )


def test_a_service_is_told_its_endpoints_and_where_its_ports_are():
    given = shop(service("shop/db", (5432, "tcp-db"), address="10.96.0.8"))
    endpoints = told(given).endpoints
    assert [(e.address, e.port, e.workload, e.health) for e in endpoints] == [
        ("10.64.0.1", 8000, "v1.shop", "HEALTHY"),
        ("10.64.0.2", 8000, "v2.shop", "HEALTHY"),
    ]
    assert told(given, "db").service.ports[0].place == "listener 10.96.0.8_5432"


def test_another_definition_that_comes_first_is_told():
    given = shop(entry("front/own", HOST, (9080, "HTTP")))
    found = told(given, "reviews.shop", "front")
    assert found.seen_from == "front"
    assert any("is defined by ServiceEntry/front/own" in text for text in found.warnings)
    private = reading([entry("shop/p", "p.example", exportTo=["."])])
    assert "is not exported to namespace front" in told(private, "p.example", "front").warnings[0]


@pytest.mark.parametrize(
    ("name", "objects", "words"),
    [
        ("reviews", [RULE], "subset v3 of DestinationRule/shop/reviews has no endpoint"),
        (
            "bare",
            [service("shop/bare", (81, "bare"), address="10.96.0.8")],
            "port 81 (bare) of Service/shop/bare tells",
        ),
        ("bare", [service("shop/bare", (81, "http"), address="10.96.0.8")], "no EndpointSlice lists an address for it"),
        (
            "lost",
            [service("shop/lost", (81, "http"), address="10.96.0.8", selector={"app": "revews"})],
            "selects app=revews, which no workload of namespace shop has",
        ),
        ("reviews", [routing("shop/a", ["reviews"], "nowhere")], "which no Service or ServiceEntry defines"),
        (
            "redis.example",
            [
                entry("shop/redis", "redis.example", (7000, "TCP"), resolution="DNS"),
                entry("shop/other", "other.example", (7000, "TCP"), day=2),
            ],
            "also those to ServiceEntry shop/other (10.8.0.1:7000)",
        ),
        (
            "reviews",
            [
                routing(
                    "shop/a",
                    ["reviews"],
                    "",
                    http=[{"route": [{"destination": {"host": "reviews", "subset": "v9"}}]}],
                )
            ],
            "leads to subset v9",
        ),
    ],
    ids=["subset", "protocol", "endpoints", "selector", "host", "shadowing", "no-subset"],
)
def test_what_is_likely_wrong_with_a_service(name, objects, words):
    assert any(words in text for text in told(shop(*objects), name).warnings)


def test_what_is_likely_wrong_with_a_workload():
    given = shop(pod("shop/lone", "10.64.0.7", {}))
    warnings = " ".join(workload(given, "lone", {}).warnings)
    for words in ("label app is missing", "label version is missing", "no Service has Pod/shop/lone", "no proxy of"):
        assert words in warnings
    refused = workload(given, "v1", {"Cluster": "ERROR"}).warnings
    assert refused == ("the proxy's Cluster is ERROR: `tidegate proxy-status v1.shop`",)


def test_names_that_are_unknown_or_shared_are_refused_with_the_choices():
    given = shop(pod("front/v1", "10.64.0.8", {}), pod("default/v2", "10.64.0.9", {}))
    with pytest.raises(TidegateError, match=r"there is no workload v7; expected one of v1.front, v1.shop"):
        find_workload(given, "v7", "")
    with pytest.raises(TidegateError, match=r"v1 is the name of several.*v1.front, v1.shop"):
        find_workload(given, "v1", "")
    assert find_workload(given, "v1", "front").ref == Ref("Pod", "front", "v1")
    assert find_workload(given, "pod/v2", "").ref == Ref("Pod", "default", "v2")
    with pytest.raises(TidegateError, match=r"there is no service nowhere; expected one of reviews.shop"):
        find_service(given, "nowhere", "")
    assert find_service(given, HOST.upper(), "").name == "reviews"


def alias(target):
    return made("Service", "shop/old", type="ExternalName", externalName=target, ports=[{"port": 9080, "name": "http"}])


def test_an_external_name_service_is_told_as_another_name():
    found = told(shop(RULE, alias(HOST)), "old.shop")
    assert (found.service.alias_of, found.service.resolution, found.warnings) == (HOST, "Alias", ())
    text = "\n".join(_service_words(found))
    assert f"(Alias of {HOST})" in text and f"`tidegate describe service {HOST}`" in text
    assert "Endpoints" not in text and "DestinationRule" not in text


def test_a_name_of_a_host_that_nobody_defines_is_warned_of():
    (warning,) = told(shop(alias("www.elsewhere.example")), "old.shop").warnings
    assert "another name of www.elsewhere.example, which no Service or ServiceEntry defines" in warning
