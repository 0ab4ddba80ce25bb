"""From rules of AuthorizationPolicies to permissions and principals."""

from typing import Any

import msgspec
import pytest
from google.protobuf import json_format

from tidegate.api.security import Rule
from tidegate.envoy.security.terms import Scope, policy_of
from tidegate.envoy.security.trust import migrated

ANY = {"any": True}


def built(scope: Scope | None = None, **raw: Any) -> Any:
    rule = msgspec.convert(raw, Rule)
    found = policy_of(rule, scope or Scope("shop"))
    return found and json_format.MessageToDict(found, preserving_proto_field_name=True)


def permissions(**operation: Any) -> list[Any]:
    (found,) = built(to=[{"operation": operation}])["permissions"]
    return list(found["and_rules"]["rules"])


def principals(**source: Any) -> list[Any]:
    (found,) = built(**{"from": [{"source": source}]})["principals"]
    return list(found["and_ids"]["ids"])


def when(key: str, *values: str) -> tuple[list[Any], list[Any]]:
    found = built(when=[{"key": key, "values": list(values)}])
    return found["permissions"][0]["and_rules"]["rules"], found["principals"][0]["and_ids"]["ids"]


def alternatives(term: Any) -> list[Any]:
    return list((term.get("or_rules") or term.get("or_ids"))["rules" if "or_rules" in term else "ids"])


def test_an_empty_rule_matches_everything() -> None:
    assert built() == {
        "permissions": [{"and_rules": {"rules": [ANY]}}],
        "principals": [{"and_ids": {"ids": [ANY]}}],
    }


def test_alternatives_are_written_one_by_one_and_conditions_go_to_each() -> None:
    found = built(
        to=[{"operation": {"ports": ["80"]}}, {"operation": {"ports": ["81"]}}],
        when=[{"key": "destination.port", "values": ["82"]}],
    )
    shown = [[alternatives(rule) for rule in each["and_rules"]["rules"]] for each in found["permissions"]]
    assert shown == [
        [[{"destination_port": 80}], [{"destination_port": 82}]],
        [[{"destination_port": 81}], [{"destination_port": 82}]],
    ]


def test_what_must_not_be() -> None:
    (term,) = permissions(notPorts=["80"])
    assert alternatives(term["not_rule"]) == [{"destination_port": 80}]


@pytest.mark.parametrize(
    ("value", "matcher"),
    [
        ("/a", {"exact": "/a"}),
        ("/a*", {"prefix": "/a"}),
        ("*/a", {"suffix": "/a"}),
        ("*", {"safe_regex": {"regex": ".+"}}),
    ],
)
def test_forms_of_values(value: str, matcher: Any) -> None:
    (term,) = permissions(paths=[value])
    assert alternatives(term) == [{"url_path": {"path": matcher}}]


def test_path_templates() -> None:
    (term,) = permissions(paths=["/a/{*}/b/{**}"])
    (found,) = alternatives(term)
    assert found["uri_template"]["typed_config"]["path_template"] == "/a/*/b/**"


def test_hosts_are_compared_without_letter_case() -> None:
    (term,) = permissions(hosts=["A.example"])
    matcher = {"exact": "A.example", "ignore_case": True}
    assert alternatives(term) == [{"header": {"name": ":authority", "string_match": matcher}}]


def name_of(found: Any) -> Any:
    return found["authenticated"]["principal_name"]


@pytest.mark.parametrize(
    ("field", "value", "matcher"),
    [
        ("principals", "td/ns/a/sa/b", {"exact": "spiffe://td/ns/a/sa/b"}),
        ("principals", "td/ns/a/*", {"prefix": "spiffe://td/ns/a/"}),
        ("principals", "*/sa/b.c", {"safe_regex": {"regex": r"spiffe://.*/sa/b\.c"}}),
        ("namespaces", "a-*", {"safe_regex": {"regex": ".*/ns/a-.*/.*"}}),
        ("trustDomains", "td", {"prefix": "spiffe://td/"}),
        ("trustDomains", "*.td", {"safe_regex": {"regex": r"spiffe://[^/]*\.td/.*"}}),
        ("serviceAccounts", "b", {"safe_regex": {"regex": "spiffe://.+/ns/shop/(.+/|)sa/b(/.+)?"}}),
        ("serviceAccounts", "a/b", {"safe_regex": {"regex": "spiffe://.+/ns/a/(.+/|)sa/b(/.+)?"}}),
    ],
)
def test_identities(field: str, value: str, matcher: Any) -> None:
    (term,) = principals(**{field: [value]})
    assert [name_of(each) for each in alternatives(term)] == [matcher]


@pytest.mark.parametrize(
    ("value", "expected"),
    [("10.0.0.0/8", ("10.0.0.0", 8)), ("10.0.0.1", ("10.0.0.1", 32)), ("2001:db8::1", ("2001:db8::1", 128))],
)
def test_addresses(value: str, expected: tuple[str, int]) -> None:
    (direct,), (remote,) = principals(ipBlocks=[value]), principals(remoteIpBlocks=[value])
    shown = {"address_prefix": expected[0], "prefix_len": expected[1]}
    assert alternatives(direct) == [{"direct_remote_ip": shown}]
    assert alternatives(remote) == [{"remote_ip": shown}]


def claims(term: Any) -> list[Any]:
    return [each["metadata"]["value"]["string_match"] for each in term["and_ids"]["ids"]]


@pytest.mark.parametrize(
    ("value", "issuer", "subject"),
    [
        ("https://idp.example/alice", {"exact": "https://idp.example"}, {"exact": "alice"}),
        ("https://idp.example/*", {"exact": "https://idp.example"}, {"safe_regex": {"regex": ".+"}}),
        ("https://idp.example/al*", {"exact": "https://idp.example"}, {"prefix": "al"}),
        ("https://idp*", {"prefix": "https://idp"}, {"safe_regex": {"regex": ".+"}}),
        ("*/alice", {"safe_regex": {"regex": ".+"}}, {"exact": "alice"}),
        ("*.example/alice", {"suffix": ".example"}, {"exact": "alice"}),
        ("*lice", {"safe_regex": {"regex": ".+"}}, {"suffix": "lice"}),
        ("*", {"safe_regex": {"regex": ".+"}}, {"safe_regex": {"regex": ".+"}}),
    ],
)
def test_request_principals(value: str, issuer: Any, subject: Any) -> None:
    (term,) = principals(requestPrincipals=[value])
    assert claims(term) == [issuer, subject]


def test_conditions_on_headers_and_claims() -> None:
    _, (header,) = when("request.headers[x-a]", "1")
    assert alternatives(header) == [{"header": {"name": "x-a", "string_match": {"exact": "1"}}}]
    _, (claim,) = when("request.auth.claims[a][b]", "1")
    assert [each["key"] for each in claim["metadata"]["path"]] == ["payload", "a", "b"]
    exact = {"string_match": {"exact": "1"}}
    assert claim["metadata"]["value"]["or_match"]["value_matchers"] == [{"list_match": {"one_of": exact}}, exact]


def test_conditions_on_what_other_filters_leave() -> None:
    (found,), _ = when("experimental.envoy.filters.http.x[y]", "[1]")
    assert found["metadata"]["filter"] == "envoy.filters.http.x"
    assert found["metadata"]["value"] == {"list_match": {"one_of": {"string_match": {"exact": "1"}}}}


TCP_ALLOW, TCP_DENY = Scope("shop", tcp=True, lax=True), Scope("shop", tcp=True)
BOTH = {"to": [{"operation": {"methods": ["GET"], "ports": ["80"]}}]}


def test_on_tcp_a_rule_that_would_allow_more_is_left_out() -> None:
    assert built(TCP_ALLOW, **BOTH) is None
    assert built(TCP_ALLOW, to=[{"operation": {"ports": ["80"]}}]) is not None
    assert built(TCP_ALLOW, when=[{"key": "request.headers[x]", "values": ["1"]}]) is None


def test_on_tcp_a_rule_that_would_deny_more_stays_without_its_http_part() -> None:
    (found,) = built(TCP_DENY, **BOTH)["permissions"]
    assert found["and_rules"]["rules"] == [{"or_rules": {"rules": [{"destination_port": 80}]}}]


class TestTrustDomains:
    def test_without_any_nothing_changes(self) -> None:
        assert migrated(["td/ns/a/sa/b"], ()) == ("td/ns/a/sa/b",)

    def test_one_of_the_meshs_stands_for_all_of_them(self) -> None:
        both = ("new/ns/a/sa/b", "old/ns/a/sa/b")
        assert migrated(["old/ns/a/sa/b"], ("new", "old")) == both
        assert migrated(["cluster.local/ns/a/sa/b"], ("new", "old")) == both

    def test_another_stays(self) -> None:
        assert migrated(["else/ns/a/sa/b"], ("new", "old")) == ("else/ns/a/sa/b",)

    def test_what_names_none_stays(self) -> None:
        assert migrated(["*", "old/ns/a/*"], ("new", "old")) == ("*", "old/ns/a/*")

    def test_a_wildcard_stays_for_those_that_it_covers(self) -> None:
        assert migrated(["*td/ns/a/sa/b"], ("one-td", "two-td", "else")) == ("*td/ns/a/sa/b", "else/ns/a/sa/b")
