"""proxy-config log against a socket that answers as an agent does; completion of names."""

import json
import socketserver
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner

from tidegate.cli.main import cli
from tidegate.cli.proxy_config import proxy_config
from tidegate.kit.errors import TidegateError

SERVER_INFO = {"command_line_options": {"log_level": "warning", "component_log_level": "router:info"}}


class Agent(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """Answers /logging, /envoy/server_info and /envoy/config_dump, and remembers the queries."""

    daemon_threads = True
    levels: dict[str, str]
    queries: list[str]
    dump: bytes = b""


class Handler(BaseHTTPRequestHandler):
    server: Agent

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        self._answer(json.dumps(SERVER_INFO).encode() if path == "/envoy/server_info" else self.server.dump)

    def do_POST(self) -> None:
        query = urlsplit(self.path).query
        levels = self.server.levels
        self.server.queries.append(query)
        for key, value in parse_qsl(query):
            chosen = dict.fromkeys(levels, value) if key == "level" else dict(p.split(":") for p in value.split(","))
            levels.update(chosen)
        self._answer(("active loggers:\n" + "".join(f"  {k}: {v}\n" for k, v in levels.items())).encode())

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def address_string(self) -> str:
        return "unix"

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Agent]:
    folder = tmp_path / "proxies" / "client.entry"
    folder.mkdir(parents=True)
    with Agent(str(folder / "agent.sock"), Handler) as server:
        server.levels = {"admin": "warning", "http": "error", "router": "error"}
        server.queries = []
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def log(tmp_path: Path, *args: str) -> str:
    given = ["log", "client.entry", "--run-dir", str(tmp_path), *args]
    result = CliRunner().invoke(proxy_config, given, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_levels_are_shown(agent: Agent, tmp_path: Path) -> None:
    assert log(tmp_path) == "client.entry:\nactive loggers:\n  admin: warning\n  http: error\n  router: error\n"
    assert json.loads(log(tmp_path, "-o", "json")) == {"admin": "warning", "http": "error", "router": "error"}
    assert agent.queries == ["", ""]


def test_levels_are_set_overall_first(agent: Agent, tmp_path: Path) -> None:
    shown = json.loads(log(tmp_path, "--level", "http:debug,info", "-o", "json"))
    assert shown == {"admin": "info", "http": "debug", "router": "info"}
    assert agent.queries == ["", "level=info", "paths=http:debug"]


def test_a_reset_is_to_the_levels_of_the_start(agent: Agent, tmp_path: Path) -> None:
    shown = json.loads(log(tmp_path, "-r", "-o", "json"))
    assert shown == {"admin": "warning", "http": "warning", "router": "info"}


@pytest.mark.parametrize(
    ("level", "told"), [("htp:debug", "no logger 'htp'; near it: http"), ("http:loud", "expected .LOGGER:.LEVEL")]
)
def test_a_level_that_cannot_be_set_changes_nothing(agent: Agent, tmp_path: Path, level: str, told: str) -> None:
    with pytest.raises(TidegateError, match=told):
        log(tmp_path, "--level", level)
    assert not any(agent.queries)


def test_level_and_reset_are_not_both(tmp_path: Path) -> None:
    result = CliRunner().invoke(proxy_config, ["o", "client.entry", "--level", "info", "--reset"])
    assert result.exit_code == 2 and "give one of them" in result.stderr


def complete(args: list[str], incomplete: str) -> list[str]:
    found = ShellComplete(cli, {}, "tidegate", "_TIDEGATE_COMPLETE").get_completions(args, incomplete)
    return [each.value for each in found]


def test_workloads_and_clusters_are_completed(agent: Agent, tmp_path: Path) -> None:
    clusters = [{"cluster": {"name": name}} for name in ("outbound|80||b.example", "outbound|80||a.example", "agent")]
    section = {"@type": "type.googleapis.com/envoy.admin.v3.ClustersConfigDump", "static_clusters": clusters}
    agent.dump = json.dumps({"configs": [section]}).encode()
    here = ["pc", "endpoint", "--run-dir", str(tmp_path)]
    assert complete(here, "cl") == ["client.entry"]
    chosen = [*here, "client.entry", "--cluster"]
    assert complete(chosen, "outbound|") == ["outbound|80||a.example", "outbound|80||b.example"]
    assert complete([*here, "client.entry", "--status"], "UN") == ["unhealthy", "unknown"]


def test_completion_is_silent_where_nothing_can_be_read(tmp_path: Path) -> None:
    assert complete(["pc", "ep", "--run-dir", str(tmp_path), "none.entry", "--cluster"], "") == []
    assert complete(["pc", "route", "--run-dir", str(tmp_path), "--name"], "") == []
