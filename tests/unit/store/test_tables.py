from datetime import UTC, datetime

import pytest

from tidegate.api.kinds import KINDS
from tidegate.store import tables

NOW = datetime(2024, 5, 1, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "<invalid>"),
        (0, "0s"),
        (119, "119s"),
        (120, "2m"),
        (200, "3m20s"),
        (3600, "60m"),
        (3 * 3600 + 600, "3h10m"),
        (10 * 3600, "10h"),
        (3 * 86400 + 3600, "3d1h"),
        (30 * 86400, "30d"),
        (3 * 365 * 86400 + 86400, "3y1d"),
        (9 * 365 * 86400, "9y"),
    ],
)
def test_ages_as_kubectl_shows_them(seconds, text):
    assert tables.human_duration(seconds) == text


def row(kind, **obj):
    meta = {"name": "x", "creationTimestamp": "2024-05-01T11:59:00Z", **obj.pop("metadata", {})}
    return tables.table(KINDS[kind], [{"metadata": meta, **obj}], NOW)["rows"][0]["cells"]


def test_pods():
    statuses = [{"ready": True, "restartCount": 2}, {"ready": False, "state": {"waiting": {"reason": "ErrImagePull"}}}]
    spec = {"containers": [{}, {}], "nodeName": "n"}
    cells = row("Pod", spec=spec, status={"phase": "Running", "podIP": "10.0.0.1", "containerStatuses": statuses})
    assert cells == ["x", "1/2", "ErrImagePull", "2", "60s", "10.0.0.1", "n"]


def test_pods_without_container_statuses_follow_the_ready_condition():
    status = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
    assert row("Pod", spec={"containers": [{}]}, status=status)[:3] == ["x", "1/1", "Running"]
    assert row("Pod", metadata={"deletionTimestamp": "2024-05-01T11:59:30Z"})[2] == "Terminating"


@pytest.mark.parametrize(
    ("spec", "status", "external", "ports"),
    [
        ({"ports": [{"port": 80}, {"port": 53, "protocol": "UDP", "nodePort": 3}]}, {}, "<none>", "80/TCP,53:3/UDP"),
        ({"type": "ExternalName", "externalName": "a.b"}, {}, "a.b", "<none>"),
        ({"type": "LoadBalancer"}, {}, "<pending>", "<none>"),
        ({"type": "LoadBalancer"}, {"loadBalancer": {"ingress": [{"ip": "1.2.3.4"}]}}, "1.2.3.4", "<none>"),
    ],
)
def test_services(spec, status, external, ports):
    cells = row("Service", spec=spec, status=status)
    assert (cells[3], cells[4], cells[5]) == (external, ports, "60s")


def test_endpoint_slices():
    endpoints = [{"addresses": [f"10.0.0.{n}"]} for n in range(5)]
    cells = row("EndpointSlice", addressType="IPv4", ports=[{"port": 80}], endpoints=endpoints)
    assert cells == ["x", "IPv4", "80", "10.0.0.0,10.0.0.1,10.0.0.2 + 2 more...", "60s"]


def test_absent_fields_of_custom_resources_are_null():
    assert row("ServiceEntry", spec={"hosts": ["a"]}) == ["x", '["a"]', None, None, "60s"]


def test_malformed_objects_do_not_break_a_table():
    for kind in KINDS:
        cells = row(kind, spec="text", status=[1], subsets=3, endpoints="x", ports=None)
        assert cells[0] == ("60s" if kind == "Event" else "x")
