"""Asking for bootstrap patches and merging them, without an Envoy."""

import asyncio
import logging
import signal
from pathlib import Path
from typing import Any

import pytest
from envoy.config.bootstrap.v3 import bootstrap_pb2
from envoy.service.discovery.v3 import discovery_pb2
from google.protobuf.json_format import ParseDict

from tidegate.agent import bootstrap_patch
from tidegate.agent.bootstrap import bootstrap, encoded
from tidegate.agent.bootstrap_patch import PatchError, answer, merged, request, write_patched
from tidegate.agent.settings import Settings
from tidegate.kit.bootstraps import ASKS, NAME, TYPE_URL


class Nowhere:
    """A control plane that cannot be reached."""

    async def problem(self) -> str:
        return "nobody is there"

    def channel(self) -> Any:
        raise AssertionError("one that cannot be reached is not called")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "token").write_text("t\n")
    return Settings(
        name="web-1",
        namespace="shop",
        address="10.0.0.7",
        run_dir=tmp_path,
        state_dir=tmp_path,
        alone=True,
        token_file=tmp_path / "token",
        upstream=tmp_path / "xds.sock",
        envoy=tmp_path / "envoy",
        proxy_id=None,
        asks_bootstrap=True,
    )


def patch(**fields: Any) -> bytes:
    return ParseDict(fields, bootstrap_pb2.Bootstrap()).SerializeToString()


def told(name: str, body: bytes) -> bytes:
    message = discovery_pb2.DeltaDiscoveryResponse(type_url=TYPE_URL)
    message.resources.add(name=name).resource.value = body
    return message.SerializeToString()


def binary(settings: Settings, script: str) -> None:
    settings.envoy.write_text(f"#!/bin/sh\n{script}\n")
    settings.envoy.chmod(0o755)


async def written(settings: Settings, monkeypatch: pytest.MonkeyPatch, body: bytes) -> bytes:
    """The bootstrap after the control plane has told ``body``."""

    async def say(*_: Any) -> bytes:
        return body

    monkeypatch.setattr(bootstrap_patch, "ask", say)
    settings.bootstrap_file.write_bytes(encoded(settings))
    await write_patched(settings, Nowhere())
    return settings.bootstrap_file.read_bytes()


def test_the_node_says_that_it_asks(settings: Settings) -> None:
    asked = discovery_pb2.DeltaDiscoveryRequest.FromString(request(settings))
    assert (asked.type_url, list(asked.resource_names_subscribe)) == (TYPE_URL, [NAME])
    assert asked.node.id == "sidecar~10.0.0.7~web-1.shop~shop.svc.cluster.local"
    assert asked.node.metadata[ASKS] == "true"


def test_an_answer_is_the_patches_or_that_there_are_none() -> None:
    none = discovery_pb2.DeltaDiscoveryResponse(type_url=TYPE_URL, removed_resources=[NAME])
    assert answer(told(NAME, b"x")) == b"x"
    assert answer(none.SerializeToString()) == answer(told("another", b"x")) == b""
    assert answer(discovery_pb2.DeltaDiscoveryResponse(type_url="other").SerializeToString()) is None


class TestMerging:
    def test_values_replace_and_lists_grow(self, settings: Settings) -> None:
        tag = {"tag_name": "extra", "regex": "x"}
        own = bootstrap(settings)
        found, kept = merged(own, patch(stats_config={"stats_tags": [tag]}, stats_flush_interval="0.5s"))
        assert [each["tag_name"] for each in found["stats_config"]["stats_tags"]] == ["cluster_name", "extra"]
        assert found["stats_flush_interval"] == "0.500s" and kept == []
        assert found["node"] == own["node"]

    def test_typed_extensions_keep_their_types(self, settings: Settings) -> None:
        kind = "type.googleapis.com/envoy.config.metrics.v3.StatsdSink"
        sink = {"name": "envoy.stat_sinks.statsd", "typed_config": {"@type": kind, "tcp_cluster_name": "agent"}}
        from envoy.config.metrics.v3 import stats_pb2  # noqa: F401 (known to json_format by its import)

        found, _ = merged(bootstrap(settings), patch(stats_sinks=[sink]))
        assert found["stats_sinks"] == [sink]

    def test_what_the_agent_needs_stays(self, settings: Settings) -> None:
        own = bootstrap(settings)
        found, kept = merged(
            own,
            patch(
                node={"id": "another", "metadata": {"EXTRA": "1"}},
                admin={"address": {"socket_address": {"address": "0.0.0.0", "port_value": 1}}, "profile_path": "/p"},
                dynamic_resources={"ads_config": {"api_type": "GRPC"}},
            ),
        )
        assert kept == ["node.id", "admin.address", "dynamic_resources"]
        assert (found["node"]["id"], found["admin"]["address"]) == (own["node"]["id"], own["admin"]["address"])
        assert found["dynamic_resources"]["ads_config"]["api_type"] == "DELTA_GRPC"
        assert found["node"]["metadata"]["EXTRA"] == "1" and found["admin"]["profile_path"] == "/p"

    def test_bytes_that_are_no_bootstrap(self, settings: Settings) -> None:
        with pytest.raises(PatchError, match="cannot be read"):
            merged(bootstrap(settings), b"\xff\xff\xff")


class TestWriting:
    async def test_what_envoy_takes_stands_in_the_bootstrap(
        self, settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        binary(settings, 'case "$*" in *bootstrap.patched.json*"--mode validate"*) exit 0;; esac; exit 1')
        with caplog.at_level(logging.WARNING):
            found = await written(settings, monkeypatch, patch(flags_path="/f", node={"id": "another"}))
        assert b'"flags_path": "/f"' in found
        assert "node.id stays as it was" in caplog.text
        assert settings.bootstrap_file.stat().st_mode & 0o777 == 0o640, "a patch may hold secrets"

    async def test_what_envoy_refuses_is_told_in_its_words(
        self, settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        binary(settings, "echo 'no such cluster'; exit 1")
        assert await written(settings, monkeypatch, patch(flags_path="/f")) == encoded(settings)
        assert "Envoy starts without the bootstrap patches" in caplog.text and "no such cluster" in caplog.text
        assert {each.name for each in settings.state_dir.iterdir()} == {"token", "envoy", "bootstrap.json"}

    @pytest.mark.parametrize(
        "line",
        [
            "2026-01-01T00:00:00.1Z\tcritical\tenvoy main\terror initializing configuration 'x': it is bad\tthread=1",
            '{"level":"critical","msg":"error initializing configuration \'x\': it is bad","caller":"a.cc:7"}',
        ],
    )
    async def test_of_what_envoy_writes_the_reason_is_told(
        self, settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, line: str
    ) -> None:
        (settings.state_dir / "said").write_text(line)
        binary(settings, f"cat {settings.state_dir}/said; exit 1")
        await written(settings, monkeypatch, patch(flags_path="/f"))
        assert caplog.messages[-1].endswith("Envoy refuses them: it is bad")

    async def test_an_envoy_that_says_nothing_is_not_waited_for(
        self, settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setattr(bootstrap_patch, "TRY_SECONDS", 0.2)
        binary(settings, "exec sleep 600")
        started, start = [], asyncio.create_subprocess_exec

        async def remembered(*command: str, **how: Any) -> asyncio.subprocess.Process:
            started.append(await start(*command, **how))
            return started[-1]

        monkeypatch.setattr(asyncio, "create_subprocess_exec", remembered)
        assert await written(settings, monkeypatch, patch(flags_path="/f")) == encoded(settings)
        assert "did not say within" in caplog.text
        assert [each.returncode for each in started] == [-signal.SIGKILL]

    async def test_no_patches_leave_it_alone(
        self, settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Nor is anything tried: there is no Envoy here."""
        assert await written(settings, monkeypatch, b"") == encoded(settings)
        assert not [each for each in caplog.records if each.levelno >= logging.WARNING]

    async def test_nobody_answers(
        self, settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setattr(bootstrap_patch, "WAIT_SECONDS", 0.1)
        settings.bootstrap_file.write_bytes(b"as it was")
        await write_patched(settings, Nowhere())
        assert settings.bootstrap_file.read_bytes() == b"as it was"
        assert "did not tell them within" in caplog.text and "nobody is there" in caplog.text
