"""RequestAuthentications: the JWT filter and the clusters of key servers."""

import json
from typing import Any

import jwt
import pytest
from google.protobuf import json_format

from tests.unit.envoy import given
from tests.worlds import entry, kind, made, world
from tidegate.api.validation.keys import has_usable, read_keys
from tidegate.envoy import protos, security
from tidegate.envoy.inputs import SecurityInput
from tidegate.envoy.security import tokens
from tidegate.envoy.security.gather import gather

POINT = {"x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4", "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"}
KEYS = json.dumps({"keys": [{"kty": "EC", "crv": "P-256", **POINT}]})


def of(where: str, *rules: Any) -> Any:
    return made("RequestAuthentication", where, jwtRules=list(rules))


def gathered(*objects: Any) -> SecurityInput:
    return gather(world(*objects), kind(), ())


def config(*objects: Any) -> Any:
    (found,) = tokens.filters(gathered(*objects))
    return json_format.MessageToDict(found.typed_config, preserving_proto_field_name=True)


def requires(*rules: Any) -> Any:
    return config(of("shop/a", *rules))["rules"][0]["requires"]


ONE, TWO = {"issuer": "one", "jwks": KEYS}, {"issuer": "two", "jwks": KEYS}
OPTIONAL = {"requires_any": {"requirements": [{"provider_name": "origins-0"}, {"allow_missing": {}}]}}
OTHER = {"requires_any": {"requirements": [{"provider_name": "origins-1"}, {"allow_missing": {}}]}}


def test_issuers_in_order_of_their_names() -> None:
    found = config(of("shop/a", TWO), of("istio-system/b", ONE))
    assert [found["providers"][f"origins-{i}"]["issuer"] for i in range(2)] == ["one", "two"]


def test_a_token_is_optional() -> None:
    assert requires(ONE) == OPTIONAL
    any_of = [{"provider_name": "origins-0"}, {"provider_name": "origins-1"}]
    expected = [*any_of, {"requires_all": {"requirements": [OPTIONAL, OTHER]}}]
    assert requires(ONE, TWO) == {"requires_any": {"requirements": expected}}


def test_a_token_may_be_required() -> None:
    required = {**ONE, "presence": "REQUIRED"}
    assert requires(required) == {"provider_name": "origins-0"}
    assert requires(required, TWO) == {"requires_all": {"requirements": [{"provider_name": "origins-0"}, OTHER]}}


def test_claims_of_several_words() -> None:
    found = config(of("shop/a", {**ONE, "spaceDelimitedClaims": ["roles", "scope"]}))
    lists = found["providers"]["origins-0"]["normalize_payload_in_metadata"]["space_delimited_claims"]
    assert lists == ["permission", "scope", "roles"]


class TestKeys:
    @pytest.mark.parametrize(
        "text",
        [
            "",
            '{"keys": []}',
            json.dumps({"keys": [{"kty": "EC", "crv": "P-256", **POINT, "y": POINT["x"]}]}),
            json.dumps({"keys": [{"kty": "RSA", "n": "AQAB", "e": "AQAB"}]}),
            json.dumps({"keys": [{"kty": "OKP", "crv": "X25519", "x": POINT["x"]}]}),
            json.dumps({"kty": "EC", "crv": "P-256", **POINT}),
        ],
    )
    def test_a_set_that_envoy_would_refuse_becomes_one_that_fits_no_token(self, text: str) -> None:
        assert not has_usable(text)
        found = config(of("shop/a", {"issuer": "one", "jwks": text}))
        assert found["providers"]["origins-0"]["local_jwks"]["inline_string"] == tokens.nobodys_keys()

    def test_a_usable_set_is_given_as_it_is_written(self) -> None:
        assert config(of("shop/a", ONE))["providers"]["origins-0"]["local_jwks"]["inline_string"] == KEYS

    def test_nobodys_key_is_a_key(self) -> None:
        (key,) = read_keys(tokens.nobodys_keys()) or ()
        assert jwt.PyJWK({**key, "alg": "ES256"}).key.curve.name == "secp256r1"
        assert has_usable(tokens.nobodys_keys())

    def test_who_is_refused_for_want_of_keys_is_told(self) -> None:
        found = security.refusals(gathered(of("shop/a", ONE, {"issuer": "none"})))
        assert [(each.subject, each.winner.name) for each in found] == [("tokens of none", "a")]
        assert "spec.jwtRules[1]" in found[0].rule


URI = "https://Idp.example/keys"


def clusters(*objects: Any, **proxy: Any) -> dict[str, Any]:
    made_of = tokens.clusters(gathered(*objects), given.defaults(), given.proxy(**proxy))
    return {each.name: protos.Cluster.FromString(each.body) for each in made_of}


class TestFetching:
    def test_a_host_outside_gets_a_cluster(self) -> None:
        objects = of("shop/a", {"issuer": "one", "jwksUri": URI, "timeout": "3s"})
        remote = config(objects)["providers"]["origins-0"]["remote_jwks"]
        assert remote["http_uri"] == {"uri": URI, "cluster": "jwks|443|https|idp.example", "timeout": "3s"}
        (found,) = clusters(objects).values()
        assert found.name == remote["http_uri"]["cluster"]
        member = found.load_assignment.endpoints[0].lb_endpoints[0].endpoint.address.socket_address
        assert (member.address, member.port_value) == ("idp.example", 443)
        tls = protos.UpstreamTlsContext()
        assert found.transport_socket.typed_config.Unpack(tls)
        assert tls.sni == "idp.example"
        names = tls.common_tls_context.validation_context.match_subject_alt_names
        assert [each.exact for each in names] == ["idp.example"]

    def test_one_for_each_server(self) -> None:
        uris = [URI, f"{URI}/more", "http://idp.example/keys", "http://10.0.0.1:8080/keys"]
        rules = [{"issuer": str(i), "jwksUri": uri} for i, uri in enumerate(uris)]
        found = clusters(of("shop/a", *rules))
        assert set(found) == {
            "jwks|443|https|idp.example",
            "jwks|80|http|idp.example",
            "jwks|8080|http|10.0.0.1",
        }
        static = protos.Cluster.DiscoveryType.STATIC
        assert found["jwks|8080|http|10.0.0.1"].type == static
        assert not found["jwks|80|http|idp.example"].HasField("transport_socket")

    def test_a_service_of_the_mesh_is_called_as_such(self) -> None:
        objects = (of("shop/a", {"issuer": "one", "jwksUri": URI}), entry("shop/e", "idp.example", (443, "HTTPS")))
        assert config(*objects)["providers"]["origins-0"]["remote_jwks"]["http_uri"]["cluster"] == (
            "outbound|443||idp.example"
        )
        assert clusters(*objects) == {}

    def test_keys_that_are_given_are_not_fetched(self) -> None:
        assert clusters(of("shop/a", ONE)) == {}
