import datetime

import jwt
import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from tidegate.store import auth
from tidegate.store.model import StoreError
from tidegate.store.sqlite import Key

KEY = ec.generate_private_key(ec.SECP256R1())
ADMIN_TOKEN = "admin-token"


def now():
    return datetime.datetime.now(datetime.UTC)


@pytest.fixture
def objects():
    def made(kind, name, uid, **more):
        return Key(kind, "n", name), msgspec.json.encode({"metadata": {"name": name, "uid": uid}, **more})

    return dict([made("ServiceAccount", "robot", "u1"), made("Pod", "p", "u2", spec={"serviceAccountName": "robot"})])


@pytest.fixture
def server(objects):
    return auth.Authenticator(ADMIN_TOKEN, KEY, objects.get)


def token(server, **spec):
    return server.issue("n", "robot", {"spec": spec})["status"]["token"]


def test_the_administrator(server):
    user = server.authenticate(f"Bearer {ADMIN_TOKEN}")
    assert user is not None and user.is_admin


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer ", "Basic YTpi", "Bearer admin-toke", "Bearer é", "Bearer a.b.c"]
)
def test_other_headers_are_nobody(server, header):
    assert server.authenticate(header) is None


def test_a_token_is_its_accounts_and_its_pods(server, objects):
    text = token(server, audiences=["istio-ca"], boundObjectRef={"kind": "Pod", "name": "p", "uid": "u2"})
    user, audiences = server.review(text, ("other", "istio-ca"))
    assert (user.username, user.uid, audiences) == ("system:serviceaccount:n:robot", "u1", ["istio-ca"])
    assert user.extra["authentication.kubernetes.io/pod-uid"] == ["u2"] and not user.is_admin
    assert server.review(text, ("other",)) is None
    assert server.authenticate(f"Bearer {text}") is None
    objects[Key("Pod", "n", "p")] = msgspec.json.encode({"metadata": {"name": "p", "uid": "made anew"}})
    assert server.review(text, ("istio-ca",)) is None


def test_a_token_dies_with_its_account(server, objects):
    text = token(server)
    assert server.authenticate(f"Bearer {text}") is not None
    del objects[Key("ServiceAccount", "n", "robot")]
    assert server.authenticate(f"Bearer {text}") is None


def test_a_token_holds_for_as_long_as_it_says_by_the_servers_clock(objects):
    time = [now()]
    server = auth.Authenticator(ADMIN_TOKEN, KEY, objects.get, lambda: time[0])
    text = token(server, expirationSeconds=600)
    for seconds, holds in ((0, True), (599, True), (601, False), (10 * 365 * 86400, False), (300, True)):
        time[0] = now() + datetime.timedelta(seconds=seconds)
        assert (server.review(text, ()) is not None) is holds, seconds


def test_a_clock_that_is_set_back_voids_no_token(objects):
    time = [now()]
    server = auth.Authenticator(ADMIN_TOKEN, KEY, objects.get, lambda: time[0])
    text = token(server, expirationSeconds=600)
    time[0] -= datetime.timedelta(days=365)
    assert server.review(text, ()) is not None
    assert server.review(token(server, expirationSeconds=600), ()) is not None


@pytest.mark.parametrize("algorithm", ["none", "HS256", "ES256"])
def test_tokens_signed_by_others(server, algorithm):
    claims = jwt.decode(token(server), options={"verify_signature": False})
    keys = {"none": None, "HS256": "x" * 32, "ES256": ec.generate_private_key(ec.SECP256R1())}
    forged = jwt.encode(claims, keys[algorithm], algorithm=algorithm)
    assert server.review(forged, ()) is None


@pytest.mark.parametrize(
    ("spec", "code"),
    [
        ({"expirationSeconds": 599}, 422),
        ({"expirationSeconds": "600"}, 422),
        ({"audiences": "istio-ca"}, 400),
        ({"boundObjectRef": {"kind": "Secret", "name": "s"}}, 400),
        ({"boundObjectRef": {"kind": "Pod", "name": "none"}}, 404),
        ({"boundObjectRef": {"kind": "Pod", "name": "p", "uid": "other"}}, 409),
    ],
)
def test_requests_that_are_refused(server, spec, code):
    with pytest.raises(StoreError) as caught:
        token(server, **spec)
    assert caught.value.code == code


def test_a_pod_of_another_account(server, objects):
    objects[Key("ServiceAccount", "n", "other")] = msgspec.json.encode({"metadata": {"name": "other", "uid": "u3"}})
    with pytest.raises(StoreError) as caught:
        server.issue("n", "other", {"spec": {"boundObjectRef": {"kind": "Pod", "name": "p"}}})
    assert caught.value.code == 400
