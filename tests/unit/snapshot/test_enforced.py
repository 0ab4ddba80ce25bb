"""An invalid security policy protects as far as it can be understood; what is skipped is told."""

from typing import Any

from tests.worlds import made, put
from tidegate.api.objects import Object, Ref
from tidegate.snapshot.state import Snapshot

WRONG = {"from": [{"source": {"ipBlocks": ["no address"]}}]}
RIGHT = {"to": [{"operation": {"methods": ["DELETE"]}}]}


def kept(obj: Object[Any]) -> Any:
    """The policy's spec in the world, and what is told of it."""
    world, _ = Snapshot.empty().apply([put(obj)])
    (found,) = world.policies_in(obj.ref.kind, obj.ref.namespace)
    (text,) = world.problems_of(obj.ref)
    assert text.startswith("left out: spec.")
    return found.spec


def test_other_rules_of_a_deny_policy_hold():
    spec = kept(made("AuthorizationPolicy", "shop/no-deletes", action="DENY", rules=[WRONG, RIGHT]))
    assert [rule.to[0].operation.methods for rule in spec.rules] == [("DELETE",)]


def test_an_allow_policy_without_any_rule_left_allows_nothing():
    spec = kept(made("AuthorizationPolicy", "shop/allow", action="ALLOW", rules=[WRONG]))
    assert (spec.action.value, spec.rules) == ("ALLOW", ())


def test_a_mode_for_ports_without_selector_is_skipped_and_the_mode_for_all_holds():
    ports = {"8080": {"mode": "DISABLE"}}
    spec = kept(made("PeerAuthentication", "shop/strict", mtls={"mode": "STRICT"}, portLevelMtls=ports))
    assert (spec.mtls.mode.value, spec.port_level_mtls) == ("STRICT", None)
    ports = {"0": {"mode": "DISABLE"}, "90": {"mode": "STRICT"}}
    chosen = made("PeerAuthentication", "shop/ports", selector={"matchLabels": {"app": "a"}}, portLevelMtls=ports)
    assert set(kept(chosen).port_level_mtls) == {"90"}


def test_other_issuers_are_checked():
    rules = [{"issuer": "a", "jwksUri": "no url"}, {"issuer": "b", "jwks": '{"keys": [{"kty": "oct", "k": "YQ"}]}'}]
    spec = kept(made("RequestAuthentication", "shop/tokens", jwtRules=rules))
    assert [rule.issuer for rule in spec.jwt_rules] == ["b"]


def test_other_kinds_are_left_out_whole():
    wrong = made("Gateway", "shop/gw", servers=[])
    world, changed = Snapshot.empty().apply([put(wrong)])
    assert not changed
    assert changed.told == {Ref("Gateway", "shop", "gw")}
    assert world.policies_in("Gateway", "shop") == ()
