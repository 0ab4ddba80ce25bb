"""HTTP: codec, virtual hosts, route matches, actions, and the filters before them."""

import base64
import json
from typing import Any

import pytest

from tests.unit.explain.worlds import (
    HTTP,
    at,
    chain,
    cluster,
    explain,
    extension,
    get,
    hcm,
    host,
    listener,
    route,
    tls_socket,
    web,
)
from tidegate.explain.connection import HttpRequest, TlsHello
from tidegate.explain.trace import Profile, Trace


def status(trace: Trace) -> tuple[str, int | None]:
    return trace.end.kind, trace.end.http_status


def answer(code: int) -> dict[str, Any]:
    return {"directResponse": {"status": code}}


@pytest.mark.parametrize(
    ("authority", "expected"),
    [
        ("a.test", "exact"),
        ("A.TEST", "exact"),
        ("b.a.test", "suffix"),
        ("c.b.a.test", "suffix"),
        ("x.long.a.test", "longer"),
        ("pre.other", "prefix"),
        ("pre.fix.x", "longer prefix"),
        ("pre.test", "top"),
        ("elsewhere", "any"),
        ("a.test:80", "any"),
        ("a.test:81", "port"),
    ],
)
def test_virtual_host_precedence(authority: str, expected: str) -> None:
    domains = {
        "any": "*",
        "prefix": "pre.*",
        "longer prefix": "pre.fix.*",
        "top": "*.test",
        "suffix": "*.a.test",
        "longer": "*.long.a.test",
        "exact": "a.test",
        "port": "a.test:81",
    }
    hosts = [host(route(), name=name, domains=(domain,)) for name, domain in domains.items()]
    step = next(step for step in web(get(authority), *hosts).steps if step.stage == "virtual_host")
    assert step.name == expected


def test_port_of_the_host_is_ignored_where_configured() -> None:
    table = {"name": "t", "virtualHosts": [host(route(), domains=("a.test",))], "ignorePortInHostMatching": True}
    rds = hcm()
    rds["typedConfig"].pop("routeConfig")
    rds["typedConfig"]["rds"] = {"routeConfigName": "t"}
    listeners = [listener("l", "0.0.0.0", 80, chain(rds))]
    assert explain(listeners, at(http=get("a.test:9")), routes=[table]).end.kind == "forwarded"
    end = explain(listeners, at(http=get("b.test")), routes=[table]).end
    assert (end.kind, end.http_status, end.response_flags) == ("no_virtual_host", 404, ("NR",))
    assert explain(listeners, at(http=get("a.test")), routes=[]).end.kind == "no_virtual_host"


@pytest.mark.parametrize(
    ("match", "path", "found"),
    [
        ({"prefix": "/api"}, "/apis?x", True),
        ({"path": "/api"}, "/api?x=1", True),
        ({"path": "/api"}, "/api/", False),
        ({"path": "/API", "caseSensitive": False}, "/api", True),
        ({"pathSeparatedPrefix": "/api"}, "/api/x", True),
        ({"pathSeparatedPrefix": "/api"}, "/apis", False),
        ({"safeRegex": {"regex": "/a.."}}, "/api?x", True),
        ({"safeRegex": {"regex": "/a"}}, "/api", False),
        ({"safeRegex": {"regex": "("}}, "/api", False),
        ({"prefix": "/", "grpc": {}}, "/", False),
        ({"connectMatcher": {}}, "/", False),
        ({"prefix": "/", "tlsContext": {"presented": True}}, "/", False),
        ({"prefix": "/", "queryParameters": [{"name": "a", "presentMatch": True}]}, "/?a", True),
        ({"prefix": "/", "queryParameters": [{"name": "a", "stringMatch": {"exact": "1"}}]}, "/?b=1&a=2", False),
        ({"prefix": "/", "headers": [{"name": ":method", "stringMatch": {"exact": "GET"}}]}, "/", True),
        ({"prefix": "/", "headers": [{"name": "x", "stringMatch": {"exact": "1"}, "invertMatch": True}]}, "/", False),
        ({"prefix": "/", "headers": [{"name": "x", "presentMatch": True, "invertMatch": True}]}, "/", True),
    ],
)
def test_route_matches(match: dict[str, Any], path: str, found: bool) -> None:
    assert (web(get(path=path), host(route(match))).end.kind == "forwarded") is found


def test_uri_template() -> None:
    kind = "type.googleapis.com/envoy.extensions.path.match.uri_template.v3.UriTemplateMatchConfig"
    policy = extension(kind, pathTemplate="/api/{version}/*/**")
    for path, found in (("/api/v1/a/b/c", True), ("/api/v1", False), ("/apix/v1/a/b", False)):
        assert (web(get(path=path), host(route({"pathMatchPolicy": policy}))).end.kind == "forwarded") is found


def test_path_only_profile_looks_at_nothing_else() -> None:
    picky = route({"prefix": "/", "headers": [{"name": "x", "presentMatch": True}]}, name="picky")
    trace = web(get(), host(picky, route(name="plain")), profile=Profile(match_headers=False))
    assert next(step.name for step in trace.steps if step.stage == "route") == "picky"
    trace = web(get(), host(picky, route(name="plain")))
    step = next(step for step in trace.steps if step.stage == "route")
    assert (step.name, step.rejected[0].what) == ("plain", "routes[0] picky")
    assert "header x (absent)" in step.rejected[0].why


def test_a_route_for_a_fraction_splits_the_walk() -> None:
    some = {"prefix": "/", "runtimeFraction": {"defaultValue": {"numerator": 25}}}
    ends = web(get(), host(route(some, **answer(418)), route())).ends
    assert [(end.kind, round(end.probability, 6)) for end in ends] == [("forwarded", 0.75), ("direct_response", 0.25)]


def test_weighted_clusters_are_probabilities() -> None:
    weights = [{"name": "a", "weight": 95}, {"name": "b", "weight": 5}, {"name": "no", "weight": 0}]
    both = [cluster("a"), cluster("b")]
    ends = web(get(), host(route(route={"weightedClusters": {"clusters": weights}})), clusters=both).ends
    assert [(end.cluster, round(end.probability, 6)) for end in ends] == [("a", 0.95), ("b", 0.05)]


@pytest.mark.parametrize(
    ("redirect", "code", "location"),
    [
        ({"hostRedirect": "b.test"}, 301, "http://b.test/x?q"),
        ({"httpsRedirect": True, "responseCode": "FOUND"}, 302, "https://a.test/x?q"),
        ({"pathRedirect": "/y", "stripQuery": True}, 301, "http://a.test/y"),
        ({"pathRedirect": "y"}, 301, "http://a.test/y?q"),
        ({"schemeRedirect": "https", "portRedirect": 8443, "prefixRewrite": "/z/"}, 301, "https://a.test:8443/z/x?q"),
    ],
)
def test_redirects(redirect: dict[str, Any], code: int, location: str) -> None:
    end = web(get(path="/x?q"), host(route(redirect=redirect))).end
    assert (end.kind, end.http_status, end.location) == ("redirect", code, location)


def test_virtual_host_that_demands_tls() -> None:
    end = web(get(path="/x"), host(route(), requireTls="ALL")).end
    assert (end.kind, end.http_status, end.location) == ("redirect", 301, "https://a.test/x")


@pytest.mark.parametrize(
    ("action", "authority", "path"),
    [
        ({"prefixRewrite": "/new"}, "a.test", "/new/x?q"),
        ({"hostRewriteLiteral": "in.test"}, "in.test", "/api/x?q"),
        ({"regexRewrite": {"pattern": {"regex": "/(\\w+)"}, "substitution": "/\\1s"}}, "a.test", "/apis/xs?q"),
        ({"autoHostRewrite": True}, "far.test", "/api/x?q"),
    ],
)
def test_what_the_far_side_sees(action: dict[str, Any], authority: str, path: str) -> None:
    named = cluster(type="STRICT_DNS", loadAssignment=None) | cluster("c")
    named["loadAssignment"]["endpoints"][0]["lbEndpoints"][0]["endpoint"]["hostname"] = "far.test"
    routes = route({"prefix": "/api"}, route={"cluster": "c", **action})
    far = web(get(path="/api/x?q"), host(routes), clusters=[named]).end.far_side
    assert far is not None and (far.authority, far.path) == (authority, path)


def test_timeout_retries_and_mirrors_are_told() -> None:
    mirrors = [{"cluster": "m", "runtimeFraction": {"defaultValue": {"numerator": 50000, "denominator": "MILLION"}}}]
    action = {"cluster": "c", "timeout": "3s", "requestMirrorPolicies": mirrors}
    policy = {"retryOn": "5xx", "numRetries": 4}
    end = web(get(), host(route(route=action), retryPolicy=policy)).end
    assert (end.timeout, end.retries, end.retry_on) == ("3s", 4, "5xx")
    assert [(each.cluster, each.share) for each in end.mirrors] == [("m", 0.05)]


def test_cluster_by_header() -> None:
    by_header = host(route(route={"clusterHeader": "x-to", "clusterNotFoundResponseCode": "NOT_FOUND"}))
    assert web(get(x_to="c"), by_header).end.kind == "forwarded"
    assert status(web(get(), by_header)) == ("no_cluster", 404)


@pytest.mark.parametrize(
    ("request_", "settings", "kind", "code"),
    [
        (HttpRequest("1.0", authority="a"), {}, "protocol_error", 426),
        (HttpRequest("1.0", authority="a"), {"httpProtocolOptions": {"acceptHttp10": True}}, "forwarded", None),
        (HttpRequest("1.1"), {}, "protocol_error", 400),
        (HttpRequest("2", authority="a"), {}, "forwarded", None),
        (HttpRequest("2", authority="a"), {"codecType": "HTTP1"}, "protocol_error", 400),
        (HttpRequest("1.1", authority="a"), {"codecType": "HTTP2"}, "protocol_error", None),
        (get(path="/a%2fb"), {"pathWithEscapedSlashesAction": "REJECT_REQUEST"}, "protocol_error", 400),
        (get(path="/a%2fb"), {"pathWithEscapedSlashesAction": "UNESCAPE_AND_REDIRECT"}, "redirect", 307),
        (get(connection="Upgrade", upgrade="websocket"), {}, "protocol_error", 403),
        (
            get(connection="Upgrade", upgrade="websocket"),
            {"upgradeConfigs": [{"upgradeType": "websocket"}]},
            "forwarded",
            None,
        ),
    ],
)
def test_codec_and_request(request_: HttpRequest, settings: dict[str, Any], kind: str, code: int | None) -> None:
    assert status(web(request_, host(route()), **settings)) == (kind, code)


def test_an_old_version_is_a_clients_protocol_error() -> None:
    end = web(HttpRequest("1.0", authority="a"), host(route())).end
    assert (end.http_status, end.response_flags) == (426, ("DPE",))


def test_bytes_that_are_no_http() -> None:
    end = explain([listener("l", "0.0.0.0", 80, chain(hcm(host(route()))))], at(plain_bytes=True)).end
    assert (end.kind, end.http_status, end.response_flags) == ("protocol_error", 400, ("DPE",))


def test_a_client_keeps_to_the_protocol_agreed_on() -> None:
    socket = tls_socket(commonTlsContext={"alpnProtocols": ["h2"]})
    listeners = [listener("l", "0.0.0.0", 80, chain(hcm(host(route())), transportSocket=socket))]
    options = {"@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions"}
    downstream = {"options": {**options, "useDownstreamProtocolConfig": {}}}
    h2 = cluster(typedExtensionProtocolOptions=downstream)
    end = explain(listeners, at(tls=TlsHello("a", ("h2",)), http=get()), [h2]).end
    assert end.far_side is not None and end.far_side.protocol == "h2"


def fault(**settings: Any) -> dict[str, Any]:
    return extension(HTTP + "fault.v3.HTTPFault", name="fault", **settings)


def test_faults_are_probabilities() -> None:
    half = {"numerator": 50}
    injected = fault(
        delay={"fixedDelay": "5s", "percentage": {"numerator": 10}}, abort={"httpStatus": 418, "percentage": half}
    )
    ends = web(get(), host(route()), filters=(injected,)).ends
    assert sorted((end.kind, end.delay, round(end.probability, 6)) for end in ends) == [
        ("direct_response", "", 0.45),
        ("direct_response", "5s", 0.05),
        ("forwarded", "", 0.45),
        ("forwarded", "5s", 0.05),
    ]
    assert {end.response_flags for end in ends if end.kind == "direct_response"} == {("FI",)}


def test_a_route_overrides_a_filter() -> None:
    always = {"abort": {"httpStatus": 418, "percentage": {"numerator": 100}}}
    own = {"fault": {"@type": HTTP + "fault.v3.HTTPFault", **always}}
    assert status(web(get(), host(route() | {"typedPerFilterConfig": own}), filters=(fault(),))) == (
        "direct_response",
        418,
    )
    off = {"fault": {"@type": "type.googleapis.com/envoy.config.route.v3.FilterConfig", "disabled": True}}
    assert web(get(), host(route() | {"typedPerFilterConfig": off}), filters=(fault(**always),)).end.kind == "forwarded"


def rbac(action: str, permission: dict[str, Any], **rest: Any) -> dict[str, Any]:
    rules = {"action": action, "policies": {"p": {"permissions": [permission], "principals": [{"any": True}]}}}
    return extension(HTTP + "rbac.v3.RBAC", rules=rules, **rest)


@pytest.mark.parametrize(
    ("action", "path", "expected"),
    [
        ("ALLOW", "/a", ("forwarded", None)),
        ("ALLOW", "/b", ("denied", 403)),
        ("DENY", "/a", ("denied", 403)),
        ("DENY", "/b", ("forwarded", None)),
        ("LOG", "/b", ("forwarded", None)),
    ],
)
def test_rbac(action: str, path: str, expected: tuple[str, int | None]) -> None:
    filters = (rbac(action, {"urlPath": {"path": {"prefix": "/a"}}}),)
    assert status(web(get(path=path), host(route()), filters=filters)) == expected


def test_rbac_without_policies_denies_all() -> None:
    empty = extension(HTTP + "rbac.v3.RBAC", rules={})
    assert status(web(get(), host(route()), filters=(empty,))) == ("denied", 403)


def test_rbac_that_cannot_be_judged_passes_and_is_named() -> None:
    trace = web(get(), host(route()), filters=(rbac("ALLOW", {"matcher": {"name": "odd"}}),))
    assert trace.end.kind == "forwarded"
    assert "policy p cannot be judged" in trace.unknown[0].why


def test_shadow_rules_tell_an_authorization_filter_whether_it_is_asked() -> None:
    policy = {"permissions": [{"urlPath": {"path": {"prefix": "/admin"}}}], "principals": [{"any": True}]}
    shadow = {"action": "DENY", "policies": {"mine-1": policy}}
    first = extension(HTTP + "rbac.v3.RBAC", shadowRules=shadow, shadowRulesStatPrefix="ext_")
    path = [{"key": "ext_shadow_effective_policy_id"}]
    enabled = {"filter": "envoy.filters.http.rbac", "path": path, "value": {"stringMatch": {"prefix": "mine"}}}
    second = extension(HTTP + "ext_authz.v3.ExtAuthz", filterEnabledMetadata=enabled)
    assert not web(get(path="/"), host(route()), filters=(first, second)).unknown
    assert "authorization service" in web(get(path="/admin"), host(route()), filters=(first, second)).unknown[0].why


def jwt(requires: dict[str, Any]) -> dict[str, Any]:
    rules = [{"match": {"prefix": "/"}, "requires": requires}]
    providers = {"p": {"issuer": "i.test", "audiences": ["a"]}, "q": {"fromHeaders": [{"name": "x-q"}]}}
    return extension(HTTP + "jwt_authn.v3.JwtAuthentication", providers=providers, rules=rules)


def signed(**claims: Any) -> HttpRequest:
    """A request with a token of these claims; nobody looks at its signature."""
    parts = (base64.urlsafe_b64encode(json.dumps(each).encode()).decode().rstrip("=") for each in ({}, claims))
    return get(authorization=f"Bearer {'.'.join(parts)}.c2ln")


def test_tokens_that_are_plainly_none_of_the_providers_are_refused_whatever_is_optional() -> None:
    one = {"providerName": "p"}
    lax = {"requiresAny": {"requirements": [one, {"allowMissing": {}}]}}
    careless = {"requiresAny": {"requirements": [one, {"allowMissingOrFailed": {}}]}}
    old, good = {"iss": "i.test", "aud": "a", "exp": 1}, {"iss": "i.test", "aud": ["b", "a"], "exp": 1 << 40}
    for bad in (get(authorization="Bearer x"), signed(iss="j.test"), signed(**old), signed(iss="i.test", aud="b")):
        assert status(web(bad, host(route()), filters=(jwt(lax),))) == ("denied", 401)
        assert web(bad, host(route()), filters=(jwt(careless),)).end.kind == "forwarded"
    assert web(signed(**good), host(route()), filters=(jwt(lax),)).end.kind == "forwarded"


def test_tokens() -> None:
    one = {"providerName": "p"}
    lax = {"requiresAny": {"requirements": [one, {"allowMissing": {}}]}}
    token = signed(iss="i.test", aud="a")
    assert status(web(get(), host(route()), filters=(jwt(one),))) == ("denied", 401)
    assert web(get(), host(route()), filters=(jwt(lax),)).end.kind == "forwarded"
    trace = web(token, host(route()), filters=(jwt(one),))
    assert trace.end.kind == "forwarded" and "validity is not judged" in trace.unknown[0].why


def test_cors_preflight_of_a_permitted_origin_is_answered() -> None:
    cors = extension(HTTP + "cors.v3.Cors", name="cors")
    policy = {"@type": HTTP + "cors.v3.CorsPolicy", "allowOriginStringMatch": [{"exact": "http://o"}]}
    mine = host(route() | {"typedPerFilterConfig": {"cors": policy}})
    for origin, kind in (("http://o", "direct_response"), ("http://p", "forwarded")):
        headers = (("origin", origin), ("access-control-request-method", "PUT"))
        asked = HttpRequest("1.1", "OPTIONS", "a.test", "/", headers)
        assert web(asked, mine, filters=(cors,)).end.kind == kind


def test_unknown_filter_is_named_and_passed() -> None:
    odd = {"name": "odd", "typedConfig": {"@type": "type.googleapis.com/example.Odd"}}
    trace = web(get(), host(route()), filters=(odd,))
    assert trace.end.kind == "forwarded"
    assert [each.where for each in trace.unknown] == ["Listener l filterChains[0].filters[0].httpFilters[0]"]


def test_filter_configuration_delivered_by_itself() -> None:
    discovered = {"name": "mine", "configDiscovery": {"typeUrls": ["x"]}}
    listeners = [listener("l", "0.0.0.0", 80, chain(hcm(host(route()), filters=(discovered,))))]
    denying = {"name": "mine", "typedConfig": rbac("DENY", {"any": True})["typedConfig"]}
    assert explain(listeners, at(http=get()), ecds=[denying]).end.kind == "denied"
    assert "delivered by itself" in explain(listeners, at(http=get())).unknown[0].why
