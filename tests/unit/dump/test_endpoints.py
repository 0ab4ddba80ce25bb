"""Endpoints by service port, from the admin port's list of clusters."""

import json

import pytest

from tidegate.dump.endpoints import by_service_port
from tidegate.dump.read import DumpError


def status(name, *places):
    hosts = [{"address": {"socket_address": {"address": a, "port_value": p}}} for a, p in places]
    return {"name": name, "host_statuses": [*hosts, {"address": {"pipe": {"path": "/run/a"}}}]}


def test_all_clusters_of_a_service_port_count():
    clusters = [
        status("outbound|80||a.example", ("10.0.0.1", 8080)),
        status("outbound|80|v1|b.example", ("10.0.0.2", 8081)),
        status("outbound|81||a.example"),
        status("inbound|80||", ("127.0.0.1", 8080)),
        status("xds-grpc", ("127.0.0.1", 15012)),
    ]
    text = json.dumps({"cluster_statuses": clusters}).encode()
    assert by_service_port(text) == {80: {("10.0.0.1", 8080), ("10.0.0.2", 8081)}}


@pytest.mark.parametrize("text", [b"", b"[]", b'{"cluster_statuses": 5}'])
def test_anything_else_is_refused(text):
    with pytest.raises(DumpError, match="not an answer"):
        by_service_port(text)
