import copy
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tidegate.api.decode import admit, stored
from tidegate.api.kinds import KINDS
from tidegate.api.shapes import (
    BoolShape,
    DurationShape,
    EnumShape,
    FloatShape,
    IntShape,
    ListShape,
    MapShape,
    MessageShape,
    shape_of,
)
from tidegate.kit.errors import InvalidObjectError

SERVICE_ENTRY: dict[str, Any] = {
    "apiVersion": "networking.istio.io/v1",
    "kind": "ServiceEntry",
    "metadata": {"name": "web", "namespace": "shop", "creationTimestamp": None},
    "spec": {"hosts": ["web.example.com"], "ports": [{"number": 80, "name": "http", "protocol": "HTTP"}]},
}
SERVICE: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "web", "namespace": "shop"},
    "spec": {"ports": [{"port": 80}], "healthCheckNodePort": 5, "selector": {"app": "web"}},
}


def refused(raw: Any, **options: Any) -> list[str]:
    with pytest.raises(InvalidObjectError) as caught:
        admit(raw, **options)
    return [str(e) for e in caught.value.errors]


def variant(raw: dict[str, Any], **spec: Any) -> dict[str, Any]:
    other = copy.deepcopy(raw)
    other["spec"].update(spec)
    return other


def virtual_service(**spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "networking.istio.io/v1alpha3",
        "kind": "VirtualService",
        "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"hosts": ["web.example.com"], **spec},
    }


def test_an_admitted_object_is_canonical_and_its_version_stays() -> None:
    raw = virtual_service(http=[{"timeout": "1m", "route": [{"destination": {"host": "web"}, "weight": "5"}]}])
    accepted = admit(raw)
    assert accepted.object["spec"]["http"] == [
        {"timeout": "60s", "route": [{"destination": {"host": "web"}, "weight": 5}]}
    ]
    assert accepted.object["apiVersion"] == "networking.istio.io/v1alpha3"
    assert stored(accepted.object).spec.http[0].route[0].weight == 5
    assert raw["spec"]["http"][0]["timeout"] == "1m"


def test_admitting_twice_changes_nothing() -> None:
    once = admit(SERVICE_ENTRY).object
    assert admit(once).object == once
    assert "creationTimestamp" not in once["metadata"]


def test_status_and_metadata_of_an_istio_kind_stay() -> None:
    raw = {**SERVICE_ENTRY, "status": {"conditions": []}}
    raw["metadata"] = {**raw["metadata"], "managedFields": [{"manager": "kubectl"}]}
    accepted = admit(raw).object
    assert accepted["status"] == {"conditions": []}
    assert accepted["metadata"]["managedFields"] == [{"manager": "kubectl"}]


def test_unknown_fields_are_errors_when_strict() -> None:
    raw = variant(SERVICE_ENTRY, foo=1, ports=[{"number": 80, "name": "http", "bar": 2}])
    assert refused({**raw, "extra": {}}, field_validation="Strict") == [
        'extra: strict decoding error: unknown field "extra"',
        'spec.ports[0].bar: strict decoding error: unknown field "spec.ports[0].bar"',
        'spec.foo: strict decoding error: unknown field "spec.foo"',
    ]


def test_unknown_fields_are_warned_about_and_dropped() -> None:
    accepted = admit(variant(SERVICE_ENTRY, foo=1), field_validation="Warn")
    assert 'unknown field "spec.foo"' in accepted.warnings
    assert "foo" not in accepted.object["spec"]


def test_unknown_fields_are_dropped_silently_when_ignored() -> None:
    accepted = admit(variant(SERVICE_ENTRY, foo=1), field_validation="Ignore")
    assert accepted.object["spec"] == SERVICE_ENTRY["spec"]
    assert not any("foo" in warning for warning in accepted.warnings)


def test_shape_and_rules_are_told_together_and_nothing_twice() -> None:
    errors = refused(variant(SERVICE_ENTRY, hosts=["*"], ports=[{"number": "x", "name": "a b"}], resolution="NONE"))
    assert [e.split(":")[0] for e in errors] == ["spec.ports[0].number", "spec.hosts[0]", "spec.ports[0].name"]


def test_a_rule_does_not_complain_about_what_could_not_be_read() -> None:
    assert refused(variant(SERVICE_ENTRY, hosts=5)) == ["spec.hosts: must be a list (got 5)"]


def test_an_answer_is_bounded() -> None:
    errors = refused(variant(SERVICE_ENTRY, endpoints=[{"weight": "x"}] * 1000))
    assert len(errors) == 201
    assert errors[-1] == "and 800 more errors"


def test_selector_and_endpoints_exclude_each_other() -> None:
    raw = variant(SERVICE_ENTRY, resolution="STATIC", endpoints=[{"address": "10.0.0.1"}])
    raw["spec"]["workloadSelector"] = {"labels": {"app": "a"}}
    assert any("only one of WorkloadSelector or Endpoints is allowed in Service Entry" in e for e in refused(raw))


def test_missing_sni_hosts() -> None:
    route = [{"destination": {"host": "web.example.com"}}]
    assert refused(virtual_service(tls=[{"match": [{"port": 443}], "route": route}])) == [
        "spec.tls[0].match[0].sniHosts: required"
    ]


def test_what_is_not_acted_on_warns_by_path() -> None:
    match = [{"sourceSubnet": "10.0.0.0/8"}]
    accepted = admit(virtual_service(tcp=[{"match": match, "route": [{"destination": {"host": "web"}}]}]))
    assert accepted.warnings == (
        "spec.tcp[0].match[0].sourceSubnet: not acted on yet; clients are not told apart by address",
    )


def test_a_core_object_keeps_all_it_has() -> None:
    assert admit(SERVICE, field_validation="Strict").object == SERVICE


def test_a_core_object_loses_what_its_kind_has_not() -> None:
    written = variant(SERVICE, selectr={"app": "web"})
    found = admit(written, field_validation="Warn")
    assert (found.object, found.warnings) == (SERVICE, ('unknown field "spec.selectr"',))
    assert admit(written, field_validation="Ignore").warnings == ()
    with pytest.raises(InvalidObjectError) as caught:
        admit(written, field_validation="Strict")
    assert [(e.path, e.reason) for e in caught.value.errors] == [("spec.selectr", "BadRequest")]


def test_unknown_metadata_is_told() -> None:
    written = {**SERVICE, "metadata": {**SERVICE["metadata"], "label": {}}}
    assert admit(written).warnings == ('unknown field "metadata.label"',)


@pytest.mark.parametrize(
    ("spec", "error"),
    [
        ({"ports": []}, "spec.ports: at least one port is required"),
        ({"ports": [{"port": 0}]}, "spec.ports[0].port: must be a port from 1 to 65535 (got 0)"),
        ({"ports": [{"port": "80"}]}, "spec.ports[0].port: must be a whole number (got '80')"),
        ({"ports": [{"port": 80}, {"port": 81, "name": "b"}]}, "spec.ports[0].name: required when there are several"),
        ({"ports": [{"port": 1, "name": "a"}, {"port": 2, "name": "a"}]}, "spec.ports[1].name: must be unique"),
        ({"ports": [{"port": 1, "name": "a"}, {"port": 1, "name": "b"}]}, "spec.ports[1]: port and protocol are"),
        ({"ports": [{"port": 1, "name": "Not_A_Name"}]}, "spec.ports[0].name: must be a DNS-1123 label"),
        ({"ports": [{"port": 1, "protocol": "ICMP"}]}, "spec.ports[0].protocol: must be one of TCP, UDP, SCTP"),
        ({"ports": [{"port": 1, "targetPort": "much-too-long-name"}]}, "spec.ports[0].targetPort: must be a port"),
        ({"ports": [{"port": 1, "targetPort": 70000}]}, "spec.ports[0].targetPort: must be a port from 1"),
        ({"type": "Magic"}, "spec.type: must be one of ClusterIP, NodePort, LoadBalancer, ExternalName"),
        ({"clusterIP": "10.0.0"}, 'spec.clusterIP: must be an IP address, "None" or empty'),
        ({"clusterIPs": ["x"]}, 'spec.clusterIPs[0]: must be an IP address, "None" or empty'),
        ({"type": "ExternalName", "externalName": "a b"}, "spec.externalName: must be a DNS name"),
        ({"sessionAffinity": "Sticky"}, "spec.sessionAffinity: must be one of None, ClientIP"),
    ],
)
def test_services_that_are_refused(spec: dict[str, Any], error: str) -> None:
    assert any(e.startswith(error) for e in refused(variant(SERVICE, **spec))), refused(variant(SERVICE, **spec))


def test_a_headless_service_needs_no_ports() -> None:
    assert admit(variant(SERVICE, ports=[], clusterIP="None")).warnings == ()


def of(kind: str, **top: Any) -> dict[str, Any]:
    described = KINDS[kind]
    meta = {"name": "a", "namespace": "b"} if described.namespaced else {"name": "a"}
    return {"apiVersion": described.api_version, "kind": kind, "metadata": meta, **top}


@pytest.mark.parametrize(
    ("raw", "error"),
    [
        (of("EndpointSlice", addressType="IPv4", endpoints=[{"addresses": ["::1"]}]), "endpoints[0].addresses[0]"),
        (of("EndpointSlice", addressType="IPv6", endpoints=[{"addresses": ["1.1.1.1"]}]), "endpoints[0].addresses[0]"),
        (of("EndpointSlice", addressType="FQDN", endpoints=[{"addresses": ["a b"]}]), "endpoints[0].addresses[0]"),
        (of("EndpointSlice", addressType="IPX"), "addressType"),
        (of("EndpointSlice", endpoints=[{}]), "endpoints[0].addresses"),
        (of("EndpointSlice", ports=[{"port": 99999}]), "ports[0].port"),
        (of("Endpoints", subsets=[{"addresses": [{"ip": "x"}]}]), "subsets[0].addresses[0].ip"),
        (of("ConfigMap", data={"a": 1}), "data[a]"),
        (of("ConfigMap", data={"a/b": "1"}), "data"),
        (of("ConfigMap", data={"a": "x" * 1_100_000}), "data"),
        (of("Secret", data={"a": "not base64!"}), "data[a]"),
        (of("Pod", spec={}), "spec.containers"),
        (of("Pod", spec={"containers": [{"name": "A"}]}), "spec.containers[0].name"),
        (of("Pod", spec={"containers": [{"name": "a", "ports": [{"containerPort": 0}]}]}), "spec.containers[0].ports"),
        (of("ServiceAccount", automountServiceAccountToken="yes"), "automountServiceAccountToken"),
        (of("Namespace") | {"metadata": {"name": "A"}}, "metadata.name"),
        (of("Namespace") | {"metadata": {"name": "a", "namespace": "b"}}, "metadata.namespace"),
        (of("Service", spec=SERVICE["spec"]) | {"metadata": {"name": "1a"}}, "metadata.name"),
        (of("ConfigMap") | {"metadata": {}}, "metadata.name"),
        (of("ConfigMap") | {"metadata": None}, "metadata"),
        (of("ConfigMap") | {"metadata": {"name": "a", "labels": {"a": 1}}}, "metadata.labels[a]"),
        (of("ConfigMap") | {"metadata": {"name": "a", "labels": {"a": "-"}}}, "metadata.labels[a]"),
        (of("ConfigMap") | {"metadata": {"name": "a", "labels": {"/": "x"}}}, "metadata.labels"),
        (of("ConfigMap") | {"metadata": {"name": "a", "annotations": {" ": ""}}}, "metadata.annotations"),
        (of("ConfigMap") | {"metadata": {"name": "a", "namespace": "a.b"}}, "metadata.namespace"),
    ],
)
def test_core_objects_that_are_refused(raw: dict[str, Any], error: str) -> None:
    errors = refused(raw)
    assert len(errors) == 1
    assert errors[0].startswith(error)


def test_a_secret_is_never_shown() -> None:
    for data in ({"a": "p4ssword!"}, {"a": 12345678}):
        assert all("p4ss" not in e and "1234" not in e for e in refused(of("Secret", data=data)))


def test_a_secrets_plain_text_is_stored_encoded() -> None:
    accepted = admit(of("Secret", data={"a": "YQ=="}, stringData={"b": "ü"}))
    assert accepted.object["data"] == {"a": "YQ==", "b": "w7w="}
    assert "stringData" not in accepted.object
    assert refused(of("Secret", stringData={"b": 5})) == ["stringData[b]: must be text"]


@pytest.mark.parametrize(
    "raw",
    [
        of("Namespace"),
        of("Node", status={"addresses": [{"type": "InternalIP", "address": "10.0.0.1"}]}),
        of("Pod", spec={"containers": [{"name": "a"}]}),
        of("EndpointSlice", addressType="IPv4", endpoints=None, ports=None),
        of("Endpoints"),
        of("Secret", data={"a": "YQ=="}),
        of("ServiceAccount"),
        of("ConfigMap", data={"mesh": "not: [mesh"}),
    ],
)
def test_core_objects_that_are_accepted(raw: dict[str, Any]) -> None:
    assert admit(raw).object == raw
    assert admit(raw).warnings == ()


def mesh_map(text: str) -> dict[str, Any]:
    return of("ConfigMap", data={"mesh": text}) | {"metadata": {"name": "istio", "namespace": "istio-system"}}


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("a: [", "data.mesh: line"),
        ("connectTimeout: 5", "data.mesh.connectTimeout: must be a duration"),
        ("outboundTrafficPolicy: {mode: SOME}", "data.mesh.outboundTrafficPolicy.mode: must be one of REGISTRY_ONLY"),
        ("- a", "data.mesh: must be an object"),
        ("trustDomain: a/b", "data.mesh.trustDomain: must be labels"),
    ],
)
def test_an_invalid_mesh_configuration_is_refused(text: str, error: str) -> None:
    errors = refused(mesh_map(text))
    assert len(errors) == 1
    assert errors[0].startswith(error)


def test_a_mesh_configuration_warns_of_what_is_not_acted_on() -> None:
    accepted = admit(mesh_map("hboneIdleTimeout: 5s\nnonsense: 1\n"))
    assert accepted.warnings == (
        "data.mesh.nonsense: unknown field",
        "data.mesh.hboneIdleTimeout: not acted on yet; HBONE is not spoken",
    )


def field_names(shape: Any, into: set[str]) -> set[str]:
    if isinstance(shape, ListShape):
        field_names(shape.item, into)
    elif isinstance(shape, MapShape):
        field_names(shape.value, into)
    elif isinstance(shape, MessageShape):
        into |= set(shape.members)
        for member in shape.members.values():
            field_names(member.shape, into)
    return into


NAMES = sorted(set.union(*(field_names(shape_of(kind.body), set()) for kind in KINDS.values())))
SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(["1s", "*", "a/b"])
)
JSON = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=8), inner, max_size=5)
    ),
    max_leaves=12,
)


@settings(deadline=None)
@given(JSON)
def test_no_json_is_an_error_of_another_kind(raw: Any) -> None:
    with pytest.raises(InvalidObjectError):
        admit(raw)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.sampled_from(sorted(KINDS)), JSON, JSON, st.sampled_from(["Strict", "Warn", "Ignore"]))
def test_no_metadata_or_body_is_an_error_of_another_kind(kind: str, meta: Any, body: Any, validation: Any) -> None:
    raw = {"apiVersion": KINDS[kind].api_version, "kind": kind, "metadata": meta, "spec": body, "status": body}
    if isinstance(body, dict):
        raw = {**body, **raw}
    try:
        admit(raw, field_validation=validation)
    except InvalidObjectError as error:
        assert error.errors


def valid_bodies(shape: Any) -> st.SearchStrategy[Any]:
    """JSON of the right shape, whose values mostly break the rules."""
    match shape:
        case MessageShape():
            members = {name: valid_bodies(member.shape) for name, member in shape.members.items()}
            return st.fixed_dictionaries({}, optional=members) if members else st.just({})
        case ListShape(item=item):
            return st.lists(valid_bodies(item), max_size=2)
        case MapShape(value=value):
            return st.dictionaries(st.text(max_size=4), valid_bodies(value), max_size=2)
        case EnumShape(names=names):
            return st.sampled_from(names)
        case IntShape(low=low, high=high):
            return st.sampled_from([n for n in (low, 0, 1, 80, 70000, high) if low <= n <= high])
        case DurationShape():
            return st.sampled_from(("0s", "1s", "-1s", "0.0001s", "315576000000s"))
        case BoolShape():
            return st.booleans()
        case FloatShape():
            return st.sampled_from((-1, 0, 0.5, 50, 1e300))
        case _:
            words = (
                "",
                "*",
                "a",
                "*.a",
                "a.b/c",
                "unix:///a",
                "10.0.0.1/8",
                ":",
                "%",
                "~",
                "(",
                "@request.auth.claims.a",
            )
            return st.sampled_from(words)


@pytest.mark.parametrize("kind", sorted(name for name, kind in KINDS.items() if kind.strict))
@settings(max_examples=25, suppress_health_check=list(HealthCheck), deadline=None)
@given(data=st.data())
def test_no_typed_body_is_an_error_of_another_kind(kind: str, data: st.DataObject) -> None:
    raw = of(kind, spec=data.draw(valid_bodies(shape_of(KINDS[kind].body))))
    try:
        accepted = admit(raw)
    except InvalidObjectError as error:
        assert error.errors
    else:
        assert stored(accepted.object).spec == stored(raw).spec
