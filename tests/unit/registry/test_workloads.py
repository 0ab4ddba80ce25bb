"""Pods and WorkloadEntries as workloads."""

from typing import Any

import pytest

from tidegate.api.decode import stored
from tidegate.registry import topology
from tidegate.registry.model import Workload
from tidegate.registry.workloads import canonical_name, canonical_revision, entry_workload, pod_workload, tls_mode


def pod(*, status: Any = None, spec: Any = None, **meta: Any) -> Workload | None:
    status = {"phase": "Running", "podIP": "10.0.0.1"} if status is None else status
    metadata = {"name": "p", "namespace": "shop", **meta}
    raw = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec or {}, "status": status}
    return pod_workload(stored(raw), {topology.REGION: "north", topology.ZONE: "n-1"})


@pytest.mark.parametrize("status", [{}, {"phase": "Running"}, {"phase": "Failed", "podIP": "10.0.0.1"}])
def test_a_pod_without_an_address_or_a_future_is_no_workload(status: Any) -> None:
    assert pod(status=status) is None


def test_a_label_overrides_the_nodes_locality() -> None:
    plain, labelled = pod(), pod(labels={topology.LOCALITY: "south.s-1.rack"})
    assert plain is not None
    assert labelled is not None
    assert (plain.locality, labelled.locality) == ("north/n-1", "south/s-1/rack")


@pytest.mark.parametrize(
    ("kind", "owner", "labels", "name"),
    [
        ("ReplicaSet", "web-5d4f", {"pod-template-hash": "5d4f"}, "web"),
        ("ReplicaSet", "web-5d4f", {}, "web-5d4f"),
        ("Job", "report-29000000", {}, "report"),
        ("StatefulSet", "db", {}, "db"),
        ("StatefulSet", "db", {"service.istio.io/workload-name": "told"}, "told"),
    ],
)
def test_a_workload_is_named_for_what_the_user_wrote(kind: str, owner: str, labels: Any, name: str) -> None:
    made = pod(labels=labels, ownerReferences=[{"kind": kind, "name": owner, "controller": True}])
    assert made is not None
    assert made.workload_name == name


def test_a_subdomain_gives_a_pod_its_own_name_as_host_name() -> None:
    made = pod(spec={"subdomain": "db"})
    assert made is not None
    assert (made.hostname, made.subdomain) == ("p", "db")


@pytest.mark.parametrize(
    ("conditions", "checked", "ready"),
    [
        ([{"type": "Healthy", "status": "True"}], "true", True),
        ([{"type": "Healthy", "status": "False"}], "true", False),
        ([], "true", False),
        ([{"type": "Healthy", "status": "False"}], "false", True),
    ],
)
def test_a_workload_entrys_health_counts_only_where_it_is_checked(conditions: Any, checked: str, ready: bool) -> None:
    meta = {"name": "w", "namespace": "shop", "annotations": {"proxy.istio.io/health-checks-enabled": checked}}
    raw = {"apiVersion": "networking.istio.io/v1", "kind": "WorkloadEntry", "metadata": meta}
    made = entry_workload(stored({**raw, "spec": {"address": "10.0.0.1"}, "status": {"conditions": conditions}}))
    assert made is not None
    assert made.ready is ready


def test_names_for_telemetry_and_mutual_tls() -> None:
    labels = {"app": "orders", "version": "v2"}
    assert (canonical_name(labels, "w"), canonical_revision(labels)) == ("orders", "v2")
    assert (canonical_name({}, "w"), canonical_revision({})) == ("w", "latest")
    assert [tls_mode({}, ""), tls_mode({}, "sa"), tls_mode({"security.istio.io/tlsMode": "disabled"}, "sa")] == [
        "disabled",
        "istio",
        "disabled",
    ]
