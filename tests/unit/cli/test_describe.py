"""``tidegate describe`` in words and as data, from objects that need no API server."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from tests.worlds import entry, pod, policy, routing
from tidegate.app.diagnosis import reading as store
from tidegate.cli.describe import describe
from tidegate.kit.errors import TidegateError

OBJECTS = (
    entry("shop/redis", "redis.example", (7000, "TCP"), (80, "HTTP"), resolution="DNS"),
    entry("shop/other", "other.example", (7000, "TCP"), day=2),
    policy("shop/redis", "redis.example", connections=3, subsets=[{"name": "v1", "labels": {"version": "v1"}}]),
    routing("shop/redis", ["redis.example"], "redis.example"),
    pod("shop/lone", "10.64.0.7", {"app": "lone"}),
)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., str]:
    monkeypatch.setattr(store, "read", lambda kubeconfig, domain: store.reading(list(OBJECTS), domain, ("a: b",)))

    def call(*arguments: str) -> str:
        given = [*arguments, "--kubeconfig", str(tmp_path / "config")]
        done = CliRunner().invoke(describe, given, catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.output

    return call


def test_a_service_in_words(run: Callable[..., str]) -> None:
    told = run("service", "redis.example")
    for line in (
        "left out: a: b",
        "As proxies of namespace shop see it:",
        "Service: ServiceEntry/shop/redis",
        "   Host: redis.example (DNSLB)",
        "   Port: p-7000 7000/TCP targets workload port 7000; in listener 0.0.0.0_7000",
        "   Port: p-80 80/HTTP targets workload port 80; in route 80",
        "   DestinationRule/shop/redis for redis.example",
        "      Traffic policy: connectionPool",
        "      Subsets without endpoints: v1 (version=v1: 0)",
        "   VirtualService/shop/redis for redis.example",
        "      http[0]: everything -> redis.example",
        "   Endpoints: 2",
        "      redis.example:7000 (p-7000) HEALTHY redis.shop",
    ):
        assert line in told.splitlines()
    assert "WARNING: ServiceEntry shop/redis: port 7000 without addresses takes every connection" in told


def test_a_workload_in_words(run: Callable[..., str]) -> None:
    told = run("workload", "lone", "-n", "shop", "--xds-address", "http://127.0.0.1:1")
    assert "Workload: Pod/shop/lone (ready)" in told
    assert "   Proxy: (not connected)" in told
    assert "WARNING: the label version is missing" in told
    assert "label app is missing" not in told


def test_istioctls_words_are_taken(run: Callable[..., str]) -> None:
    assert "Workload: Pod/shop/lone" in run("pod", "lone", "-n", "shop", "--xds-address", "http://127.0.0.1:1")
    assert "Host: redis.example" in run("svc", "redis.example")


def test_as_data(run: Callable[..., str]) -> None:
    def whole(text: str) -> str:
        return text.partition("\n")[2]

    as_json: dict[str, Any] = json.loads(whole(run("service", "redis.example", "-o", "json")))
    assert as_json == yaml.safe_load(whole(run("service", "redis.example", "-o", "yaml")))
    assert as_json["service"]["ports"][0]["place"] == "listener 0.0.0.0_7000"


def test_without_an_api_server_it_says_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBECONFIG", raising=False)
    runner = CliRunner()
    places = ["--run-dir", str(tmp_path), "--state-dir", str(tmp_path)]
    with pytest.raises(TidegateError, match="no lab is up in"):
        runner.invoke(describe, ["service", "a", *places], catch_exceptions=False)
    with pytest.raises(TidegateError, match="cannot read the kubeconfig"):
        runner.invoke(describe, ["service", "a", "--kubeconfig", str(tmp_path / "no")], catch_exceptions=False)
