"""Matches of VirtualServices."""

import msgspec
import pytest

from tests.unit.envoy.outbound_samples import CLIENT
from tidegate.api.networking import HTTPMatchRequest, StringMatch
from tidegate.envoy import matches

EXACT, PRESENT = StringMatch(exact="v"), StringMatch()


@pytest.mark.parametrize(
    ("uri", "kind", "value", "text"),
    [
        (None, "prefix", "/", "/*"),
        (StringMatch(), "prefix", "/", "/*"),
        (StringMatch(prefix="/api"), "prefix", "/api", "/api*"),
        (StringMatch(exact="/health"), "path", "/health", "/health"),
        (StringMatch(regex="/v[12]/.*"), "safe_regex", "/v[12]/.*", "/v[12]/.*"),
    ],
)
def test_uri(uri, kind, value, text):
    found = matches.route_match(HTTPMatchRequest(uri=uri))
    given = found.safe_regex.regex if kind == "safe_regex" else getattr(found, kind)
    assert (found.WhichOneof("path_specifier"), given) == (kind, value)
    assert found.case_sensitive.value
    assert matches.text(found) == text


def test_ignored_case():
    found = matches.route_match(HTTPMatchRequest(uri=StringMatch(prefix="/A"), ignore_uri_case=True))
    assert found.HasField("case_sensitive")
    assert not found.case_sensitive.value


def test_no_match_says_nothing_of_case():
    assert not matches.route_match(None).HasField("case_sensitive")


def test_headers_stand_in_a_fixed_order():
    found = matches.route_match(
        HTTPMatchRequest(
            headers={"x-b": EXACT, "x-a": PRESENT},
            without_headers={"x-z": EXACT, "x-y": PRESENT},
            method=StringMatch(exact="POST"),
            authority=StringMatch(prefix="a"),
            scheme=StringMatch(exact="http"),
        )
    )
    assert [h.name for h in found.headers] == ["x-a", "x-b", "x-y", "x-z", ":method", ":authority", ":scheme"]
    present, valued = found.headers[2:4]
    assert present.present_match and present.invert_match and not present.treat_missing_header_as_empty
    assert valued.invert_match and valued.treat_missing_header_as_empty


@pytest.mark.parametrize("value", [StringMatch(), StringMatch(regex="*"), StringMatch(prefix="")])
def test_a_header_that_may_have_any_value_must_be_present(value):
    assert matches.header("x", value).present_match


def test_query_parameters():
    found = matches.route_match(HTTPMatchRequest(query_params={"page": StringMatch(regex="[0-9]+"), "any": PRESENT}))
    by_name = {q.name: q for q in found.query_parameters}
    assert by_name["page"].string_match.safe_regex.regex == "[0-9]+"
    assert by_name["any"].present_match


@pytest.mark.parametrize(
    ("match", "expected"),
    [
        (None, True),
        (HTTPMatchRequest(), True),
        (HTTPMatchRequest(uri=StringMatch(prefix="/")), True),
        (HTTPMatchRequest(uri=StringMatch(regex=".*")), True),
        (HTTPMatchRequest(uri=StringMatch(prefix="/a")), False),
        (HTTPMatchRequest(headers={"x": EXACT}), False),
        (HTTPMatchRequest(query_params={"x": EXACT}), False),
        (HTTPMatchRequest(method=StringMatch(exact="GET")), False),
    ],
)
def test_catch_all(match, expected):
    assert matches.is_catch_all(matches.route_match(match)) is expected


@pytest.mark.parametrize(
    ("match", "expected"),
    [
        (HTTPMatchRequest(), True),
        (HTTPMatchRequest(gateways=("mesh", "shop/front")), True),
        (HTTPMatchRequest(gateways=("shop/front",)), False),
        (HTTPMatchRequest(port=80), True),
        (HTTPMatchRequest(port=81), False),
        (HTTPMatchRequest(source_namespace="shop"), True),
        (HTTPMatchRequest(source_namespace="payments"), False),
        (HTTPMatchRequest(source_labels={"track": "canary"}), True),
        (HTTPMatchRequest(source_labels={"track": "stable"}), False),
        (HTTPMatchRequest(source_labels={"app": "x"}), False),
    ],
)
def test_what_is_decided_when_configuration_is_built(match, expected):
    assert matches.holds(match, 80, CLIENT) is expected


def test_claims_of_tokens_are_no_headers():
    claim = {"@request.auth.claims.group": EXACT}
    asked, without = HTTPMatchRequest(headers=claim), HTTPMatchRequest(without_headers=claim)
    assert [m.invert for each in (asked, without) for m in matches.route_match(each).dynamic_metadata] == [False, True]
    assert not matches.route_match(without).headers


def test_where_gateways_are_named_callers_of_http_are_not_looked_at():
    match = HTTPMatchRequest(gateways=("mesh",), source_labels={"app": "nobody"}, source_namespace="nowhere")
    assert matches.http_holds(match, 80, CLIENT) and not matches.holds(match, 80, CLIENT)
    assert not matches.http_holds(match, 80, CLIENT, "edge/one")


def test_a_proxy_without_labels_matches_what_asks_for_none():
    plain = msgspec.structs.replace(CLIENT, labels=())
    assert matches.holds(HTTPMatchRequest(), 80, plain)
