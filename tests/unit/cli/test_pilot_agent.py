"""The commands that injected containers call."""

import http.server
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from click.testing import CliRunner, Result

from tests.unit.cli.test_help import every_command
from tidegate.cli.pilot_agent import cli
from tidegate.inject.context import Place
from tidegate.inject.objects import inject_object
from tidegate.inject.settings import settings
from tidegate.kit.errors import TidegateError

POD = """
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: shop, annotations: {sidecar.istio.io/componentLogLevel: "misc:error"}}
spec: {containers: [{name: app, image: x}]}
"""
VALUES = {"global": {"logAsJson": True, "sts": {"servicePort": 15463}, "proxy": {"outlierLogPath": "/dev/stdout"}}}


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, arguments)


def problem(*arguments: str) -> str:
    found = run(*arguments).exception
    assert isinstance(found, TidegateError), found
    return str(found)


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.answer({"/healthz/ready": 200, "/config_dump": 200}.get(self.path, 404))

    def do_POST(self) -> None:
        self.answer(200 if self.path == "/drain" else 405)

    def answer(self, status: int) -> None:
        body = f"{self.command} {self.path}".encode()
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def port() -> Iterator[int]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


def test_each_command_that_injection_writes_is_there() -> None:
    """All arguments of both containers and of their hooks are known."""
    for values in ({}, VALUES):
        for native in (True, False):
            spec = inject_object(yaml.safe_load(POD), settings(values, native=native), Place()).object["spec"]
            for container in (*(spec.get("initContainers") or ()), *spec["containers"]):
                if container["name"] in ("istio-init", "istio-proxy"):
                    parses(container["args"])
                for hook in (container.get("lifecycle") or {}).values():
                    assert hook["exec"]["command"][0] == "pilot-agent"
                    parses(hook["exec"]["command"][1:])


def parses(arguments: list[str]) -> None:
    name, *rest = arguments
    command = cli.get_command(click.Context(cli), name)
    assert command is not None, name
    command.make_context(name, list(rest), resilient_parsing=False)


def test_every_command_lists_examples() -> None:
    for _, command in every_command(cli):
        assert "Examples:\n" in (command.help or "")
    assert "istio-iptables" in run("--help").stdout


def test_request_prints_the_answer(port: int) -> None:
    assert run("request", f"--debug-port={port}", "GET", "config_dump").stdout == "GET /config_dump"
    assert run("request", f"--debug-port={port}", "POST", "/drain").stdout == "POST /drain"


def test_request_tells_what_went_wrong(port: int) -> None:
    assert problem("request", f"--debug-port={port}", "GET", "x").endswith("is answered 404: GET /x")
    assert "GET /stats on port 1 is not answered: " in problem("request", "--debug-port=1", "GET", "stats")
    assert "is not answered" in problem("request", f"--debug-port={port}", "GET", "a b")
    assert run("request", "DELETE", "x").exit_code == 2


def test_wait_ends_when_the_proxy_is_ready(port: int) -> None:
    assert run("wait", "--url", f"http://localhost:{port}/healthz/ready").exit_code == 0


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://localhost:{port}/other", "it answers 404: GET /other"),
        ("http://localhost:1/", "did not become ready within 0 s"),
        ("https://localhost/", "expected http://HOST:PORT/PATH"),
        ("http://localhost:port/", "expected http://HOST:PORT/PATH"),
    ],
)
def test_wait_tells_why_it_gave_up(port: int, url: str, reason: str) -> None:
    assert reason in problem("wait", "--timeoutSeconds", "0", "--url", url.replace("{port}", str(port)))


def test_what_the_proxy_cannot_start_with_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PROXY_CONFIG", "concurrency: many")
    assert "PROXY_CONFIG is no ProxyConfig: concurrency" in problem("proxy", "sidecar")
    mesh = tmp_path / "mesh"
    mesh.write_text("[")
    assert f"mesh configuration {mesh} cannot be read" in problem("proxy", "sidecar", "--meshConfig", str(mesh))
    assert run("proxy", "waypoint").exit_code == 2
    assert "is no level" in problem("proxy", "sidecar", "--log_output_level=loud")
