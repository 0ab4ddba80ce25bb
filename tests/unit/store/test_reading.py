"""Paths, parameters, bodies, Accept headers: what arrives from outside is understood or refused, never more."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.store import bodies, paths, protobuf, rendering, selectors
from tidegate.store.client import watch_event
from tidegate.store.model import StoreError, WatchType


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/api/v1/pods", ("Pod", "v1", "", "", "")),
        ("/api/v1/namespaces", ("Namespace", "v1", "", "", "")),
        ("/api/v1/namespaces/n", ("Namespace", "v1", "", "n", "")),
        ("/api/v1/namespaces/n/status", ("Namespace", "v1", "", "n", "status")),
        ("/api/v1/namespaces/n/pods/p/status", ("Pod", "v1", "n", "p", "status")),
        ("/api/v1/namespaces/n/serviceaccounts/s/token", ("ServiceAccount", "v1", "n", "s", "token")),
        ("/apis/networking.istio.io/v1beta1/namespaces/n/sidecars", ("Sidecar", "v1beta1", "n", "", "")),
    ],
)
def test_paths(path, expected):
    target = paths.parse(path)
    assert (target.kind.kind, target.version, target.namespace, target.name, target.subresource) == expected


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/api/v1",
        "/api/v2/pods",
        "/api/v1/pods/p",
        "/api/v1/namespaces/n/nodes",
        "/api/v1/namespaces/n/pods/p/exec",
        "/api/v1/namespaces/n/configmaps/c/status",
        "/api/v1/namespaces/n/pods/p/status/x",
        "/apis/networking.istio.io/v2/sidecars",
        "/apis/v1/pods",
    ],
)
def test_paths_that_are_not_served(path):
    with pytest.raises(StoreError) as caught:
        paths.parse(path)
    assert caught.value.code == 404


@given(st.text(max_size=60))
def test_any_path_is_parsed_or_not_found(text):
    for path in (text, f"/api/v1/{text}", f"/api/v1/namespaces/n/{text}", f"/apis/{text}"):
        try:
            assert paths.parse(path).kind
        except StoreError as failure:
            assert failure.code == 404


@pytest.mark.parametrize("query", [{"dryRun": "Some"}, {"fieldValidation": "Loose"}, {"force": "maybe"}])
def test_write_options_are_checked(query):
    with pytest.raises(StoreError) as caught:
        paths.write_options(query)
    assert caught.value.code == 400


@pytest.mark.parametrize("query", [{"limit": "-1"}, {"limit": "1e3"}, {"timeoutSeconds": "9" * 20}, {"watch": "si"}])
def test_list_options_are_checked(query):
    with pytest.raises(StoreError) as caught:
        paths.list_options(query)
    assert caught.value.code == 400


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        ("", "json"),
        ("*/*", "json"),
        ("application/json;as=Table;v=v1;g=meta.k8s.io,application/json", "table"),
        ("application/json;as=Table;v=v1beta1;g=meta.k8s.io, application/json", "json"),
        ("application/vnd.kubernetes.protobuf,application/json", "json"),
        ("application/yaml", "yaml"),
        ("application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1", "partial"),
    ],
)
def test_accept(accept, form):
    assert rendering.negotiate(accept) == form


def test_nothing_acceptable():
    with pytest.raises(StoreError) as caught:
        rendering.negotiate("application/cbor, text/html")
    assert caught.value.code == 406


@given(st.binary(max_size=200))
def test_any_body_is_read_or_refused(data):
    for read in (bodies.parse_json, bodies.parse_yaml, protobuf.decode, lambda d: protobuf.decode(b"k8s\0" + d)):
        try:
            read(data)
        except StoreError as failure:
            assert failure.code in (400, 415)


@given(st.text(max_size=40))
def test_any_selector_is_read_or_refused(text):
    for parse in (selectors.parse_labels, lambda t: selectors.parse_fields("Pod", t)):
        try:
            parse(text)
        except StoreError as failure:
            assert failure.code == 400


def test_yaml_dates_stay_text_and_aliases_are_refused():
    assert bodies.parse_yaml(b"a: 2024-01-01\nb: {c: 1}") == {"a": "2024-01-01", "b": {"c": 1}}
    with pytest.raises(StoreError) as caught:
        bodies.parse_yaml(b"a: &x [1]\nb: [*x, *x]")
    assert "aliases" in str(caught.value)


def field(number, data):
    return bytes([number << 3 | 2, len(data)]) + data


def test_protobuf():
    """The bytes of ``kubectl create configmap a --from-literal=k=v``."""
    meta = field(1, b"a") + field(2, b"") + field(3, b"ns") + field(8, b"")
    raw = field(1, meta) + field(2, field(1, b"k") + field(2, b"v"))
    type_meta = field(1, b"v1") + field(2, b"ConfigMap")
    body = b"k8s\0" + field(1, type_meta) + field(2, raw) + field(3, b"") + field(4, b"")
    assert protobuf.decode(body) == {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "a", "namespace": "ns"},
        "data": {"k": "v"},
    }


def test_protobuf_fields_that_are_not_read_are_refused():
    type_meta = field(1, b"v1") + field(2, b"ConfigMap")
    with pytest.raises(StoreError) as caught:
        protobuf.decode(b"k8s\0" + field(1, type_meta) + field(2, field(9, b"x")))
    assert caught.value.code == 415


def test_watch_events():
    line = msgspec.json.encode({"type": "ADDED", "object": {"metadata": {"name": "a"}}})
    assert watch_event(line).type is WatchType.ADDED
    gone = {"type": "ERROR", "object": {"kind": "Status", "code": 410, "reason": "Expired", "message": "m"}}
    with pytest.raises(StoreError) as caught:
        watch_event(msgspec.json.encode(gone))
    assert (type(caught.value).__name__, caught.value.code) == ("Expired", 410)


@pytest.mark.parametrize("line", [b"{", b"[]", b'{"type":"NEWS","object":{}}', b'{"type":"ADDED"}', b"1"])
def test_watch_lines_that_are_no_events(line):
    with pytest.raises(StoreError) as caught:
        watch_event(line)
    assert caught.value.code == 0


@pytest.mark.parametrize(
    ("asked", "command"),
    [("log", "tidegate lab logs web.shop"), ("exec", "tidegate lab exec web.shop -- COMMAND"), ("eviction", None)],
)
def test_what_only_a_kubelet_serves_is_told_with_the_labs_command(asked, command):
    with pytest.raises(StoreError) as caught:
        paths.parse(f"/api/v1/namespaces/shop/pods/web/{asked}")
    assert caught.value.code == 404
    assert (f"in a lab, use `{command}`" in str(caught.value)) == (command is not None)
