"""Route configurations of gateways."""

from envoy.extensions.filters.http.jwt_authn.v3.config_pb2 import JwtAuthentication

from tests.unit.envoy.gateway.front import Front, bound, gateway, manager, own_service, server, simple, web
from tests.worlds import made, policy
from tidegate.api.objects import Ref
from tidegate.envoy.resource import ROUTE

WEB = "outbound|8000||web.shop.svc.cluster.local"
OTHER = "outbound|8000||other.shop.svc.cluster.local"
HTTP = gateway("edge/one", server(80, "HTTP"))


def prefix(text: str, to: str = "web") -> dict[str, object]:
    return {"match": [{"uri": {"prefix": text}}], "route": [{"destination": {"host": to}}]}


class TestHosts:
    def test_a_rule_is_bound_by_short_and_by_full_name(self) -> None:
        rules = [
            bound("edge/a", "a.example", "web.shop.svc.cluster.local", "one"),
            bound("shop/b", "b.example", "web", "edge/one"),
            bound("shop/c", "c.example", "web", "one.edge"),
            bound("shop/d", "d.example", "web", "one"),
            bound("shop/e", "e.example", "web"),
        ]
        found = Front(own_service(), HTTP, web(), *rules)
        assert list(found.hosts("http.8080")) == [f"{n}.example:80" for n in "abc"]

    def test_the_destinations_only_port_stands_in_for_the_gateways(self) -> None:
        assert Front(HTTP, web(), bound("shop/a", "a.example", "web", "edge/one")).hosts("http.80") == {
            "a.example:80": [WEB]
        }

    def test_the_narrower_of_two_hosts_that_meet_is_served(self) -> None:
        given = gateway("edge/one", server(80, "HTTP", "*.example", "x.other.example"))
        rules = [bound("shop/a", "a.example", "web", "edge/one"), bound("shop/b", "*.other.example", "web", "edge/one")]
        found = Front(given, web(), *rules)
        shown = {v.name: list(v.domains) for v in found.route("http.80").virtual_hosts}
        assert shown == {"a.example:80": ["a.example"], "x.other.example:80": ["x.other.example", "*.other.example"]}

    def test_a_server_may_be_for_one_namespace(self) -> None:
        given = gateway("edge/one", server(80, "HTTP", "shop/a.example", "./b.example", "*/c.example"))
        rules = [bound(f"shop/{n}", f"{n}.example", "web", "edge/one") for n in "abc"]
        assert list(Front(given, web(), *rules).hosts("http.80")) == ["a.example:80", "c.example:80"]

    def test_a_rule_that_is_not_exported_to_the_gateway_does_not_count(self) -> None:
        hidden = bound("shop/a", "a.example", "web", "edge/one", exportTo=["."])
        assert list(Front(HTTP, web(), hidden).hosts("http.80")) == ["blackhole:80"]

    def test_hosts_of_equal_routes_are_one_virtual_host(self) -> None:
        rule = made(
            "VirtualService",
            "shop/a",
            hosts=["a.example", "longer.example"],
            gateways=["edge/one"],
            http=[{"route": [{"destination": {"host": "web"}}]}],
        )
        (host,) = Front(HTTP, web(), rule).route("http.80").virtual_hosts
        assert host.name == "longer.example:80" and list(host.domains) == ["longer.example", "a.example"]

    def test_names_are_compared_without_regard_to_case(self) -> None:
        rules = [
            bound("shop/a", "A.example", "web", "edge/one"),
            bound("shop/b", "a.Example", "web", "edge/one", day=2),
        ]
        assert list(Front(HTTP, web(), *rules).hosts("http.80")) == ["a.example:80"]


class TestRoutes:
    def test_routes_of_several_rules_follow_each_other_and_the_catch_all_is_last(self) -> None:
        first = bound("shop/a", "a.example", "web", "edge/one", day=1)
        second = bound(
            "shop/b", "a.example", "", "edge/one", day=2, http=[prefix("/x", "other"), prefix("/y", "other")]
        )
        found = Front(HTTP, web(), web("shop/other", "10.96.0.8"), first, second)
        assert found.hosts("http.80") == {"a.example:80": [OTHER, OTHER, WEB]}

    def test_origins_follow_their_routes(self) -> None:
        first = bound("shop/a", "a.example", "web", "edge/one", day=1)
        second = bound("shop/b", "a.example", "", "edge/one", day=2, http=[prefix("/x")])
        resource = Front(HTTP, web(), first, second).view.get(ROUTE, "http.80")
        origins = {
            o.path: o for o in resource.all_origins() if o.field.startswith("spec.http[0]") and "match" not in o.path
        }
        assert origins["virtual_hosts[0].routes[0]"].ref == Ref("VirtualService", "shop", "b")
        assert origins["virtual_hosts[0].routes[1]"].ref == Ref("VirtualService", "shop", "a")

    def test_a_match_may_be_for_one_gateway_or_port(self) -> None:
        rule = bound(
            "shop/a",
            "a.example",
            "",
            "edge/one",
            "mesh",
            http=[
                {"match": [{"gateways": ["mesh"]}], "route": [{"destination": {"host": "nowhere"}}]},
                {"match": [{"port": 81}], "route": [{"destination": {"host": "nowhere"}}]},
                {"match": [{"gateways": ["edge/one"], "port": 80}], "route": [{"destination": {"host": "web"}}]},
            ],
        )
        assert Front(HTTP, web(), rule).hosts("http.80") == {"a.example:80": [WEB]}

    def test_a_rule_of_which_nothing_holds_has_no_host(self) -> None:
        rule = bound(
            "shop/a", "a.example", "", "edge/one",
            http=[{"match": [{"port": 81}], "route": [{"destination": {"host": "web"}}]}],
        )  # fmt: skip
        (host,) = Front(HTTP, web(), rule).route("http.80").virtual_hosts
        assert (host.name, list(host.domains), list(host.routes)) == ("blackhole:80", ["*"], [])

    def test_consistent_hashing_of_the_destination_is_asked_for(self) -> None:
        hashing = {"loadBalancer": {"consistentHash": {"httpHeaderName": "x-user"}}}
        rule = policy("shop/web", "web", trafficPolicy=hashing)
        (host,) = (
            Front(HTTP, web(), rule, bound("shop/a", "a.example", "web", "edge/one")).route("http.80").virtual_hosts
        )
        assert host.routes[0].route.hash_policy[0].header.header_name == "x-user"


class TestRedirects:
    def test_hosts_of_a_redirecting_server_answer_plain_text_with_https(self) -> None:
        given = gateway("edge/one", server(80, "HTTP", "a.example", "b.example", httpsRedirect=True))
        found = Front(given, web(), bound("shop/a", "a.example", "web", "edge/one")).route("http.80").virtual_hosts
        assert [(v.name, v.require_tls, len(v.routes)) for v in found] == [
            ("a.example:80", 2, 1),
            ("b.example:80", 2, 0),
        ]

    def test_one_redirecting_server_of_several_is_enough(self) -> None:
        given = gateway("edge/one", server(80, "HTTP", "a.example"))
        other = gateway("edge/two", server(80, "HTTP", "a.example", httpsRedirect=True), day=2)
        rule = bound("shop/a", "a.example", "web", "edge/one", "edge/two")
        found = Front(given, other, web(), rule).route("http.80").virtual_hosts
        assert [v.require_tls for v in found] == [2]

    def test_each_https_server_has_a_configuration_of_its_own(self) -> None:
        given = gateway("edge/one", simple(443, "a.example"), simple(8443, "b.example"))
        rules = [bound("shop/a", "a.example", "web", "edge/one"), bound("shop/b", "b.example", "web", "edge/one")]
        found = Front(given, web(), *rules)
        assert list(found.hosts("https.443.https-443.one.edge")) == ["a.example:443"]
        assert list(found.hosts("https.8443.https-8443.one.edge")) == ["b.example:8443"]


class TestClaims:
    RULE = bound(
        "shop/a",
        "a.example",
        "",
        "edge/one",
        http=[
            {
                "match": [{"headers": {"@request.auth.claims.group.name": {"exact": "admin"}}}],
                "route": [{"destination": {"host": "web"}}],
            },
            {
                "match": [{"headers": {"@request.auth.claims[sub]": {}}}],
                "route": [{"destination": {"host": "web"}}],
            },
            {
                "match": [{"withoutHeaders": {"@request.auth.claims.sub": {"prefix": "x"}}}],
                "route": [{"destination": {"host": "web"}}],
            },
            {"route": [{"destination": {"host": "web"}}]},
        ],
    )

    def test_a_gateway_routes_by_what_the_token_says(self) -> None:
        (host,) = Front(HTTP, web(), self.RULE).route("http.80").virtual_hosts
        named, present, without, rest = (list(route.match.dynamic_metadata) for route in host.routes)
        assert [p.key for p in named[0].path] == ["payload", "group", "name"]
        assert [v.WhichOneof("match_pattern") for v in named[0].value.or_match.value_matchers] == [
            "string_match", "list_match",
        ]  # fmt: skip
        assert [p.key for p in present[0].path] == ["payload", "sub"] and present[0].value.present_match
        assert without[0].invert and not rest

    def test_routes_are_looked_for_anew_once_the_token_is_read(self) -> None:
        tokens = made("RequestAuthentication", "edge/t", jwtRules=[{"issuer": "i", "jwks": '{"keys": []}'}])
        shown = manager(Front(HTTP, web(), self.RULE, tokens).listener("0.0.0.0_80").filter_chains[0])
        config = JwtAuthentication.FromString(shown.http_filters[0].typed_config.value)
        assert [provider.clear_route_cache for provider in config.providers.values()] == [True]
