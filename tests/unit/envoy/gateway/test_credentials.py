"""Certificates from Secrets: what is made of them, and who is given them."""

import base64
from typing import Any

import pytest

from tests.unit.envoy.gateway.front import SPACE, Front, gateway, server, simple
from tests.worlds import pod, policy, put
from tidegate.api import decode
from tidegate.api.objects import Object, Ref
from tidegate.app.discovery.hub import Hub
from tidegate.app.discovery.proxies import Node
from tidegate.envoy import credentials
from tidegate.envoy.resource import SECRET


def secret(name: str, namespace: str = SPACE, kind: str = "kubernetes.io/tls", **data: str) -> Object[Any]:
    """``data`` by names with _ for a dot."""
    encoded = {key.replace("_", "."): base64.b64encode(value.encode()).decode() for key, value in data.items()}
    meta = {"name": name, "namespace": namespace, "uid": f"Secret/{namespace}/{name}"}
    return decode.stored({"apiVersion": "v1", "kind": "Secret", "metadata": meta, "type": kind, "data": encoded})


PAIR = {"tls_crt": "chain", "tls_key": "key"}
FRONT = gateway("edge/one", simple(443, "a.example"))
MUTUAL = gateway("edge/one", simple(443, "a.example", mode="MUTUAL"))
NAME, ROOTS = "kubernetes://cert", "kubernetes://cert-cacert"


class TestWhatIsMade:
    @pytest.mark.parametrize("data", [PAIR, {"cert": "chain", "key": "key"}])
    def test_a_certificate_with_its_key(self, data: dict[str, str]) -> None:
        found = Front(FRONT, secret("cert", **data)).secret(NAME).tls_certificate
        assert (found.certificate_chain.inline_bytes, found.private_key.inline_bytes) == (b"chain", b"key")

    def test_roots_and_revocations_stand_in_the_same_secret(self) -> None:
        found = Front(MUTUAL, secret("cert", **PAIR, ca_crt="roots", ca_crl="list")).secret(ROOTS).validation_context
        assert (found.trusted_ca.inline_bytes, found.crl.inline_bytes) == (b"roots", b"list")

    def test_or_in_one_of_their_own_which_counts_first(self) -> None:
        found = Front(MUTUAL, secret("cert", **PAIR, ca_crt="no"), secret("cert-cacert", cacert="roots"))
        assert found.secret(ROOTS).validation_context.trusted_ca.inline_bytes == b"roots"

    def test_half_a_pair_and_broken_text_make_nothing(self) -> None:
        broken = secret("cert", **PAIR, ca_crt="roots")
        broken.spec.data["tls.key"] = "%%%"
        assert Front(FRONT, broken).secret(NAME) is None
        assert Front(FRONT, secret("cert", tls_crt="chain", ca_crt="roots")).secret(NAME) is None

    def test_a_config_map_may_hold_roots(self) -> None:
        meta = {"name": "roots", "namespace": SPACE, "uid": "u"}
        held = decode.stored({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"ca.crt": "roots"}})
        rule = policy(
            "edge/p", "p.example", trafficPolicy={"tls": {"mode": "SIMPLE", "credentialName": "configmap://edge/roots"}}
        )
        found = Front(gateway("edge/one", server(80, "HTTP")), held, rule).secret("configmap://edge/roots")
        assert found.validation_context.trusted_ca.inline_bytes == b"roots"

    def test_names_of_other_namespaces_have_no_object(self) -> None:
        assert credentials.refs_of("kubernetes://far/cert", SPACE) == ()
        assert credentials.refs_of("kubernetes://edge/cert", SPACE) == (Ref("Secret", SPACE, "cert"),)


class TestWhoIsGivenIt:
    def test_a_secret_that_no_server_names_is_not_given(self) -> None:
        assert Front(FRONT, secret("other", **PAIR)).secret("kubernetes://other") is None

    def test_nor_one_of_another_namespace(self) -> None:
        assert Front(gateway("far/one", simple(443, "a.example")), secret("cert", "far", **PAIR)).secret(NAME) is None

    def test_a_gateway_object_of_another_namespace_may_name_the_proxys_own(self) -> None:
        assert Front(gateway("far/one", simple(443, "a.example")), secret("cert", **PAIR)).secret(NAME) is not None

    def test_whoever_no_gateway_selects_is_given_nothing(self) -> None:
        other = gateway("edge/one", simple(443, "a.example"), app="another")
        rule = policy("edge/p", "p.example", trafficPolicy={"tls": {"mode": "MUTUAL", "credentialName": "cert"}})
        assert Front(other, rule, secret("cert", **PAIR)).secret(NAME) is None

    def test_a_rule_for_upstreams_gives_a_gateway_what_it_names(self) -> None:
        rule = policy("shop/p", "p.example", trafficPolicy={"tls": {"mode": "SIMPLE", "credentialName": "cert"}})
        hidden = policy(
            "shop/q", "q.example", exportTo=["."], trafficPolicy={"tls": {"mode": "SIMPLE", "credentialName": "other"}}
        )
        found = Front(
            gateway("edge/one", server(80, "HTTP")),
            rule,
            hidden,
            secret("cert", ca_crt="r"),
            secret("other", ca_crt="r"),
        )
        assert found.secret(ROOTS) is not None and found.secret("kubernetes://other-cacert") is None

    def test_a_sidecar_is_given_it_by_a_rule_that_selects_it(self) -> None:
        def given(app: str, **selector: Any) -> Any:
            rule = policy(
                "edge/p", "p.example", trafficPolicy={"tls": {"mode": "SIMPLE", "credentialName": "cert"}}, **selector
            )
            hub = Hub()
            hub.apply([put(x) for x in (pod("edge/app", "10.1.0.1", {"app": app}), rule, secret("cert", ca_crt="r"))])
            node = Node(name="app.edge", namespace="edge", pod="app", service_account="default", address="10.1.0.1")
            return hub.attach(node).mailbox.view.get(SECRET, ROOTS)

        selector = {"workloadSelector": {"matchLabels": {"app": "a"}}}
        assert given("a", **selector) is not None
        assert given("b", **selector) is None
        assert given("a") is None


class TestChanges:
    def test_a_renewed_secret_is_told_to_its_gateway(self) -> None:
        found = Front(FRONT, secret("cert", **PAIR))
        found.hub.apply([put(secret("cert", tls_crt="renewed", tls_key="key"))])
        waiting = found.shown.mailbox._waiting
        assert waiting is not None and waiting.delta == {SECRET: frozenset({NAME})}
        assert found.secret(NAME).tls_certificate.certificate_chain.inline_bytes == b"renewed"

    def test_a_secret_without_certificates_is_nothing_to_the_world(self) -> None:
        found = Front(FRONT)
        before = found.hub.world.version
        found.hub.apply([put(secret("password", kind="Opaque", password="x"))])
        found.hub.apply([put(secret("token", kind="kubernetes.io/service-account-token", ca_crt="x"))])
        assert found.hub.world.version == before

    def test_the_key_is_in_no_text_that_is_logged(self) -> None:
        held = secret("cert", tls_crt="chain", tls_key="very secret")
        given = credentials.gathered(Front(FRONT, held).hub.world, [NAME], SPACE)
        assert "secret" not in repr(given).replace("Secret", "") and len(given) == 1
