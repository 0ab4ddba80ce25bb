import copy
from typing import Any

import pytest

from tidegate.api.core import EndpointSliceBody, PodStatus
from tidegate.api.decode import api_version_kind, stored
from tidegate.api.networking import ServiceEntry, ServiceEntryResolution, VirtualService
from tidegate.api.objects import Ref
from tidegate.kit.durations import Duration
from tidegate.kit.errors import InvalidObjectError

ENTRY: dict[str, Any] = {
    "apiVersion": "networking.istio.io/v1",
    "kind": "ServiceEntry",
    "metadata": {
        "name": "web",
        "namespace": "shop",
        "uid": "u1",
        "resourceVersion": "7",
        "creationTimestamp": "2026-01-01T00:00:00Z",
        "labels": {"app": "web", "a": "b"},
        "managedFields": [{"manager": "kubectl"}],
    },
    "spec": {"hosts": ["web.example.com"], "resolution": "STATIC", "endpoints": [{"address": "10.0.0.1"}]},
}


def changed(path: str, value: Any) -> dict[str, Any]:
    raw = copy.deepcopy(ENTRY)
    place = raw
    *steps, last = path.split(".")
    for step in steps:
        place = place.setdefault(step, {})
    place[last] = value
    return raw


def test_an_object_as_the_core_sees_it() -> None:
    entry = stored(ENTRY)
    assert entry.ref == Ref("ServiceEntry", "shop", "web")
    assert entry.meta.labels == {"app": "web", "a": "b"}
    assert isinstance(entry.spec, ServiceEntry)
    assert entry.spec.resolution is ServiceEntryResolution.STATIC
    assert entry.status is None


@pytest.mark.parametrize("version", ["v1", "v1beta1", "v1alpha3"])
def test_every_served_version_is_the_same_object(version: str) -> None:
    assert stored(changed("apiVersion", f"networking.istio.io/{version}")) == stored(ENTRY)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("metadata.uid", "u2"),
        ("metadata.labels.app", "other"),
        ("metadata.annotations", {"a": "b"}),
        ("metadata.creationTimestamp", "2026-01-02T00:00:00Z"),
        ("spec.hosts", ["other.example.com"]),
        ("status", {"addresses": [{"value": "240.0.0.1"}]}),
    ],
)
def test_what_the_digest_covers(path: str, value: Any) -> None:
    assert stored(changed(path, value)).digest != stored(ENTRY).digest


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("metadata.resourceVersion", "8"),
        ("metadata.generation", 4),
        ("metadata.managedFields", []),
        ("metadata.labels", {"a": "b", "app": "web"}),
        ("spec.location", "MESH_EXTERNAL"),
    ],
)
def test_what_the_digest_leaves_out(path: str, value: Any) -> None:
    other = stored(changed(path, value))
    assert other.digest == stored(ENTRY).digest
    assert other == stored(ENTRY)
    assert hash(other) == hash(stored(ENTRY))


def test_unknown_fields_are_skipped() -> None:
    assert stored(changed("spec.tomorrow", {"x": 1})) == stored(ENTRY)


def test_an_object_in_other_forms_is_read_by_the_walker() -> None:
    raw = {
        "apiVersion": "networking.istio.io/v1beta1",
        "kind": "VirtualService",
        "metadata": {"name": "a", "namespace": "b", "creationTimestamp": None},
        "spec": {"hosts": ["a"], "http": [{"timeout": "1m30s", "retries": {"attempts": "2"}, "fault": None}]},
    }
    service = stored(raw)
    assert isinstance(service.spec, VirtualService)
    assert service.spec.http[0].timeout == Duration.of(seconds=90)
    assert service.spec.http[0].retries is not None
    assert service.spec.http[0].retries.attempts == 2


def test_a_stored_object_that_breaks_a_limit_is_still_read() -> None:
    assert stored(changed("spec.hosts", [])).spec.hosts == ()


def test_what_cannot_be_typed_is_told_with_its_path() -> None:
    with pytest.raises(InvalidObjectError) as refused:
        stored(changed("spec.endpoints", [{"address": "1.1.1.1"}, {"weight": "heavy"}]))
    assert str(refused.value) == (
        "ServiceEntry shop/web is invalid: spec.endpoints[1].weight: must be a whole number (got 'heavy')"
    )


def test_kinds_without_spec_keep_their_fields_beside_metadata() -> None:
    raw = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": "a-1", "namespace": "b", "labels": {"kubernetes.io/service-name": "a"}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["10.0.0.1"], "conditions": {"ready": None}}],
        "ports": None,
    }
    part = stored(raw)
    assert isinstance(part.spec, EndpointSliceBody)
    assert part.spec.endpoints[0].addresses == ("10.0.0.1",)
    assert part.spec.ports == ()
    assert part.meta.labels["kubernetes.io/service-name"] == "a"


def test_a_pods_status_is_typed_and_counts() -> None:
    raw: dict[str, Any] = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "namespace": "b"}, "spec": {}}
    running = stored({**raw, "status": {"phase": "Running", "podIP": "10.0.0.1", "startTime": "x"}})
    assert isinstance(running.status, PodStatus)
    assert running.status.pod_ip == "10.0.0.1"
    assert running != stored(raw)
    assert running == stored({**raw, "status": {"phase": "Running", "podIP": "10.0.0.1", "startTime": "y"}})


def test_a_cluster_scoped_object_has_no_namespace() -> None:
    assert str(stored({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "a"}}).ref) == "Namespace/a"


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ([], "must be a Kubernetes object"),
        ({}, "kind: must be text"),
        ({"kind": "CronJob"}, "kind: no kind 'CronJob' is served"),
        ({"kind": "Pod", "apiVersion": "v2"}, "apiVersion: must be v1 for a Pod (got 'v2')"),
        ({"kind": "Sidecar", "apiVersion": ["v1"]}, "apiVersion: must be networking.istio.io/v1 or"),
    ],
)
def test_kinds_that_are_not_served(raw: Any, message: str) -> None:
    with pytest.raises(InvalidObjectError) as refused:
        api_version_kind(raw)
    assert message in str(refused.value)
