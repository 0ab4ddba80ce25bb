"""The filters of security policies: which there are, in which order, and what they refuse."""

import json
from typing import Any

import pytest
from google.protobuf import json_format

from tests.worlds import entry, kind, made, mesh, service, sidecar, world
from tidegate.api import decode, meshconfig
from tidegate.envoy import security
from tidegate.envoy.inputs import SecurityInput
from tidegate.envoy.security.gather import gather
from tidegate.registry.model import labels_of

PAY = labels_of({"app": "pay"})


def policy(where: str, action: str = "ALLOW", *rules: Any, dry: bool = False, **more: Any) -> Any:
    namespace, _, name = where.partition("/")
    meta = {"name": name, "namespace": namespace, "uid": where}
    if dry:
        meta["annotations"] = {"istio.io/dry-run": "true"}  # type: ignore[assignment]
    spec = {"action": action, "rules": list(rules), **more}
    raw = {"apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy", "metadata": meta, "spec": spec}
    return decode.stored(raw)


def tokens(where: str, *rules: Any) -> Any:
    return made("RequestAuthentication", where, jwtRules=list(rules))


def gathered(*objects: Any, namespace: str = "shop") -> SecurityInput:
    return gather(world(*objects), kind(namespace), PAY)


def opened(found: Any) -> Any:
    return json_format.MessageToDict(found.typed_config, preserving_proto_field_name=True)


def actions(found: list[Any]) -> list[str]:
    """The action of each RBAC filter that enforces, the last word of others' names."""
    return [_action(each) for each in found]


def _action(found: Any) -> str:
    rules = opened(found).get("rules")
    return rules.get("action", "ALLOW") if isinstance(rules, dict) else found.name.rpartition(".")[2]


PORT = {"to": [{"operation": {"ports": ["80"]}}]}
KEYLESS = {"issuer": "https://a.example"}
PROVIDER = {"name": "asked", "envoyExtAuthzHttp": {"service": "shop/asked.example", "port": 80}}


def providers(*listed: Any) -> Any:
    return mesh(json.dumps({"extensionProviders": list(listed)}))


class TestOrder:
    def test_custom_then_tokens_then_audit_deny_allow(self) -> None:
        found = gathered(
            policy("shop/a", "ALLOW", PORT),
            policy("shop/b", "DENY", PORT),
            policy("shop/c", "AUDIT", PORT),
            policy("shop/d", "CUSTOM", PORT, provider={"name": "asked"}),
            tokens("shop/t", KEYLESS),
            entry("shop/asked", "asked.example"),
            providers(PROVIDER),
        )
        assert actions(security.http_filters(found)) == ["rbac", "ext_authz", "jwt_authn", "LOG", "DENY", "ALLOW"]
        assert actions(security.network_filters(found)) == ["LOG", "DENY", "ALLOW"]

    def test_nothing_where_nothing_holds(self) -> None:
        found = gathered(policy("else/a", "DENY", PORT))
        assert found == SecurityInput()
        assert security.http_filters(found) == security.network_filters(found) == []


def rules(found: Any, part: str = "rules") -> dict[str, Any]:
    return dict(opened(found)[part].get("policies", {}))


class TestRules:
    def test_policies_of_one_action_share_a_filter(self) -> None:
        (found,) = security.http_filters(gathered(policy("istio-system/a", "DENY", PORT), policy("shop/b", "DENY", {})))
        assert set(rules(found)) == {"ns[istio-system]-policy[a]-rule[0]", "ns[shop]-policy[b]-rule[0]"}

    def test_an_allow_policy_without_rules_allows_nothing(self) -> None:
        (found,) = security.http_filters(gathered(policy("shop/a")))
        (rule,) = rules(found).values()
        assert rule["permissions"] == [{"not_rule": {"any": True}}]

    def test_what_is_tried_is_not_enforced(self) -> None:
        tried, held = policy("shop/a", "DENY", PORT, dry=True), policy("shop/b", "DENY", PORT)
        (found,) = security.http_filters(gathered(tried))
        assert "rules" not in opened(found)
        assert opened(found)["shadow_rules_stat_prefix"] == "istio_dry_run_deny_"
        (both,) = security.http_filters(gathered(tried, held))
        assert list(rules(both)) == ["ns[shop]-policy[b]-rule[0]"]
        assert list(rules(both, "shadow_rules")) == ["ns[shop]-policy[a]-rule[0]"]

    def test_on_tcp_an_allow_policy_of_http_alone_allows_nothing(self) -> None:
        given = gathered(policy("shop/a", "ALLOW", {"to": [{"operation": {"methods": ["GET"]}}]}))
        (found,) = security.network_filters(given)
        assert opened(found)["rules"] == {}

    def test_the_meshs_trust_domains(self) -> None:
        named = {"from": [{"source": {"principals": ["cluster.local/ns/a/sa/b"]}}]}
        moved = mesh("trustDomain: new\ntrustDomainAliases: [old]")
        (found,) = security.http_filters(gathered(policy("shop/a", "ALLOW", named), moved))
        text = json.dumps(rules(found))
        assert "spiffe://new/" in text
        assert "spiffe://old/" in text


CUSTOM = policy("shop/c", "CUSTOM", PORT, provider={"name": "asked"})


def denied(given: SecurityInput) -> bool:
    (found, *more) = security.http_filters(given)
    return not more and opened(found)["rules"]["action"] == "DENY" and all("-deny-due-to" in n for n in rules(found))


def reasons(given: SecurityInput) -> str:
    return " ".join(each.rule for each in security.refusals(given))


class TestProviders:
    def test_one_that_the_mesh_does_not_have(self) -> None:
        given = gathered(CUSTOM)
        assert denied(given)
        assert "no such extension provider" in reasons(given)

    def test_one_that_does_not_authorize(self) -> None:
        tracer = {"name": "asked", "zipkin": {"service": "z.example", "port": 80}}
        assert denied(gathered(CUSTOM, providers(tracer)))

    @pytest.mark.parametrize(
        ("wrong", "named"),
        [
            ({"port": 99999}, "port"),
            ({"pathPrefix": "check"}, "pathPrefix"),
            ({"statusOnError": "418"}, "statusOnError"),
            ({"service": "not a host"}, "service"),
            ({"includeRequestBodyInCheck": {}}, "maxRequestBytes"),
            ({"timeout": "-1s"}, "timeout"),
            ({"includeAdditionalHeadersInCheck": {"x": "a\nb"}}, "includeAdditionalHeadersInCheck"),
        ],
    )
    def test_one_with_wrong_settings(self, wrong: dict[str, Any], named: str) -> None:
        settings = {"name": "asked", "envoyExtAuthzHttp": {"service": "asked.example", "port": 80, **wrong}}
        given = gathered(CUSTOM, providers(settings), entry("shop/asked", "asked.example"))
        assert denied(given)
        assert named in reasons(given)

    def test_one_whose_service_is_missing_hidden_or_has_not_the_port(self) -> None:
        there = entry("shop/asked", "asked.example")
        assert not denied(gathered(CUSTOM, providers(PROVIDER), there))
        assert "no service asked.example" in reasons(gathered(CUSTOM, providers(PROVIDER)))
        other = entry("shop/asked", "asked.example", (81, "HTTP"))
        assert "has no port 80" in reasons(gathered(CUSTOM, providers(PROVIDER), other))
        assert denied(gathered(CUSTOM, providers(PROVIDER), entry("else/asked", "asked.example")))
        assert denied(gathered(CUSTOM, providers(PROVIDER), there, sidecar("shop/s", ["else/*"])))

    def test_two_at_one_workload(self) -> None:
        second = policy("shop/d", "CUSTOM", PORT, provider={"name": "other"})
        both = providers(PROVIDER, {**PROVIDER, "name": "other"})
        given = gathered(CUSTOM, second, both, entry("shop/asked", "asked.example"))
        assert actions(security.http_filters(given)) == ["DENY", "DENY"]
        assert "several providers" in reasons(given)

    def test_a_grpc_provider_is_asked_on_tcp_too(self) -> None:
        grpc = {"name": "asked", "envoyExtAuthzGrpc": {"service": "asked.example", "port": 80, "failOpen": True}}
        given = gathered(CUSTOM, providers(grpc), entry("shop/asked", "asked.example", (80, "GRPC")))
        mark, asking = security.network_filters(given)
        assert set(rules(mark, "shadow_rules")) == {"istio-ext-authz-asked-ns[shop]-policy[c]-rule[0]"}
        assert opened(asking)["failure_mode_allow"]
        assert opened(asking)["grpc_service"]["envoy_grpc"]["cluster_name"] == "outbound|80||asked.example"

    def test_the_hosts_that_are_looked_for_are_known(self) -> None:
        assert gathered(CUSTOM, providers(PROVIDER)).hosts == ("asked.example",)
        assert gathered(CUSTOM).hosts == ()


def test_the_pure_function_of_policies_alone() -> None:
    given = [CUSTOM, policy("shop/a", "DENY", PORT), policy("else/b", "DENY", PORT)]
    found = meshconfig.parse(json.dumps({"extensionProviders": [PROVIDER]}))
    custom = security.filters(given, ("shop", PAY), (), found, "http", True)
    assert actions(custom) == ["rbac", "ext_authz"]
    assert actions(security.filters(given, ("shop", PAY), (), found, "tcp", False)) == ["DENY"]


def test_services_may_be_named_with_their_namespace() -> None:
    inside = {"name": "asked", "envoyExtAuthzHttp": {"service": "shop/asked.shop.svc.cluster.local", "port": 80}}
    there = service("shop/asked", address="10.0.0.9")
    assert not denied(gathered(CUSTOM, providers(inside), there))
