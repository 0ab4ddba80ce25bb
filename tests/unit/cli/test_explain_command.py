"""``tidegate explain`` as a user meets it: what can be asked, what is printed, and how it ends."""

import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner, Result

from tests.unit.app.offline.test_world import POD, SERVICE
from tidegate.answer.verdict import Outcome
from tidegate.cli.explain import OUTCOMES
from tidegate.cli.explain_question import Target, target_of
from tidegate.cli.main import cli
from tidegate.kit.errors import TidegateError

FAULT = """---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: web, namespace: shop}
spec:
  hosts: [web]
  http:
  - match: [{uri: {prefix: /off}}]
    fault: {abort: {percentage: {value: 100}, httpStatus: 403}}
    route: [{destination: {host: web}}]
  - route: [{destination: {host: web}}]
"""
GATEWAY = """---
apiVersion: v1
kind: Pod
metadata: {name: edge, namespace: shop, labels: {istio: edge}}
spec: {containers: [{name: istio-proxy}]}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: edge, namespace: shop}
spec:
  selector: {istio: edge}
  servers:
  - port: {number: 8443, name: https, protocol: HTTPS}
    hosts: [a.example.com]
    tls: {mode: SIMPLE, credentialName: a-cert}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: edge, namespace: shop}
spec:
  hosts: [a.example.com]
  gateways: [edge]
  http: [{route: [{destination: {host: web}}]}]
"""
STRICT = """---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: shop}
spec: {mtls: {mode: STRICT}}
"""
OTHER_PORT = """---
apiVersion: v1
kind: Service
metadata: {name: front, namespace: shop}
spec: {clusterIP: 10.96.0.9, selector: {app: web}, ports: [{name: http, port: 81, targetPort: 8080}]}
"""


def asked(*options: str, more: str = "", source: str = "web-0.shop") -> Result:
    given = f"{SERVICE}\n---\n{POD}\n{more}"
    return CliRunner().invoke(cli, ["explain", "-f", "-", "--from", source, *options], input=given)


class TestTargets:
    @pytest.mark.parametrize(
        ("text", "found"),
        [
            ("web", Target("web")),
            ("web.shop.svc.cluster.local.:80", Target("web.shop.svc.cluster.local.", 80)),
            ("_srv.example.com:81", Target("_srv.example.com", 81)),
            ("10.0.0.3:80", Target("10.0.0.3", 80)),
            ("fd00::5", Target("fd00::5")),
            ("[FD00::5]:443", Target("fd00::5", 443)),
            ("[fd00::5]", Target("fd00::5")),
            ("https://a.example.com/v1?x=1", Target("a.example.com", 0, "https", "/v1?x=1")),
            ("tcp://[fd00::5]:5432", Target("fd00::5", 5432, "tcp")),
        ],
    )
    def test_what_is_called(self, text: str, found: Target) -> None:
        assert target_of(text) == found

    @pytest.mark.parametrize(
        "text",
        [
            *("", ":80", "web:", "web:http", "web:0", "web:65536", "web:٣", "ca rt:80", "10.0.0.300:80", "*.a.com:80"),
            *("-x:80", "a..b:80", f"{'a' * 64}:80", f"{'a.' * 127}b:80", "web/path:80", "[::1:80", "web:80:81"),
            *("ftp://web", "http://", "http://:80", "http://web:99999", "http://[::1"),
        ],
    )
    def test_what_is_no_host_and_port_is_refused(self, text: str) -> None:
        with pytest.raises(click.UsageError, match="--to"):
            target_of(text)

    @pytest.mark.parametrize(
        ("options", "to", "protocol"),
        [
            (("web.shop",), "web.shop:80", "http"),
            (("web.shop", "--protocol", "tls"), "web.shop:443", "tls"),
            (("web.shop:443",), "web.shop:443", "https"),
            (("web.shop:3306", "--server-first"), "web.shop:3306", "tcp"),
            (("grpc://web.shop",), "web.shop:80", "grpc"),
            (("[fd00::5]:80",), "[fd00::5]:80", "http"),
        ],
    )
    def test_port_and_protocol_follow_from_each_other(self, options: tuple[str, ...], to: str, protocol: str) -> None:
        report = json.loads(asked("-o", "json", "--to", *options).stdout)
        assert (report["to"], report["protocol"]) == (to, protocol)

    def test_bytes_have_no_port_of_their_own(self) -> None:
        result = asked("--to", "web.shop", "--protocol", "tcp")
        assert (result.exit_code, "tcp has no port of its own" in result.stderr) == (2, True)


class TestQuestions:
    @pytest.mark.parametrize(
        ("options", "told"),
        [
            (("--path", "users"), "--path users: must begin with /"),
            (("--method", "GE T"), "--method GE T: must be the name of a method"),
            (("--header", "x y=1"), "--header x y=1: must be NAME=VALUE"),
            (("--caller", "web-0.shop"), "--caller: tells who calls with --inbound"),
            (("--from-user", "-1"), "-1 is not in the range"),
            (("--running", "--config-dump", "x"), "--config-dump and --running: give one of them"),
        ],
    )
    def test_what_cannot_be_is_wrong_usage(self, options: tuple[str, ...], told: str) -> None:
        result = asked("--to", "web.shop:80", *options)
        assert (result.exit_code, told in result.stderr) == (2, True), result.stderr

    def test_options_that_say_nothing_are_told(self) -> None:
        result = asked("--to", "web.shop:80", "--protocol", "tcp", "--path", "/x", "--header", "a=b", "--sni", "s")
        assert result.stderr.splitlines() == [
            f"note: --{name} says nothing of a connection of protocol tcp" for name in ("header", "path", "sni")
        ]

    def test_a_path_beside_a_url_counts(self) -> None:
        assert asked("--to", "http://web.shop/off", "--expect", "direct_response", more=FAULT).exit_code == 0
        given = asked("--to", "http://web.shop/off", "--path", "/on", "--expect", "reaches", more=FAULT)
        assert given.exit_code == 0

    def test_a_callers_deployment_is_enough(self) -> None:
        deployment = """---
apiVersion: apps/v1
kind: Deployment
metadata: {name: caller, namespace: shop}
spec:
  selector: {matchLabels: {app: caller}}
  template: {metadata: {labels: {app: caller}}, spec: {containers: [{name: app}]}}
"""
        found = asked("--inbound", "--to", "web:8080", "--caller", "caller.shop", more=deployment)
        assert (found.exit_code, found.stdout.partition(":")[0]) == (0, "reaches")

    def test_a_services_port_leads_to_the_workloads_own(self) -> None:
        found = asked("--inbound", "--to", "front:81", more=OTHER_PORT).stdout
        assert "port 81 of Service/shop/front leads to its port 8080" in found

    def test_an_address_and_its_port_are_what_they_are(self) -> None:
        assert "leads to" not in asked("--inbound", "--to", "10.8.0.1:81", more=OTHER_PORT).stdout


class TestAnswers:
    def test_the_deciding_field_is_that_of_the_route(self) -> None:
        lines = asked("--to", "web.shop:80", "--path", "/off", more=FAULT).stdout.splitlines()
        assert lines[1].startswith("decided by VirtualService/shop/web spec.http[0]  <stdin>:")
        assert any("http_filter: aborts 100% of the requests (403)" in line for line in lines)

    def test_a_fault_comes_from_the_rule_that_asks_for_it(self) -> None:
        report = json.loads(asked("--to", "web.shop:80", "--path", "/off", "-o", "json", more=FAULT).stdout)
        assert [(s["object"], s["field"]) for s in report["steps"] if s["stage"] == "http_filter"] == [
            ("VirtualService/shop/web", "spec.http[0]")
        ]

    def test_a_secret_that_is_elsewhere_is_taken_as_delivered_and_told(self) -> None:
        found = asked("--to", "a.example.com:8443", "--protocol", "https", more=GATEWAY, source="edge.shop").stdout
        assert found.startswith("reaches")
        assert "assumed: secret kubernetes://a-cert is not among the manifests: taken as delivered" in found

    def test_an_address_that_stands_for_another_is_told(self) -> None:
        told = "assumed: 192.0.0.8 stands for the address of example.org, which only DNS knows; --ip gives it"
        assert told in asked("--to", "example.org:80").stdout
        assert "assumed" not in asked("--to", "example.org:80", "--ip", "203.0.113.7").stdout

    def test_what_only_waits_for_certificates_is_no_warning(self) -> None:
        assert asked("--to", "web.shop:80", more=STRICT).stderr == ""

    def test_no_colour_where_no_terminal_is(self) -> None:
        assert "\x1b" not in asked("--to", "web.shop:80").stdout


class TestExpectations:
    def test_every_outcome_can_be_expected(self) -> None:
        assert set(OUTCOMES) == {each.value for each in Outcome}

    @pytest.mark.parametrize(("expected", "code"), [(("reaches",), 0), (("hangs", "reaches"), 0), (("hangs",), 3)])
    def test_the_exit_code(self, expected: tuple[str, ...], code: int) -> None:
        options = [part for each in expected for part in ("--expect", each)]
        result = asked("--to", "web.shop:80", *options)
        assert (result.exit_code, "expected: hangs" in result.stderr) == (code, code == 3)


class TestAdminPorts:
    @pytest.fixture
    def envoy(self) -> Iterator[str]:
        dump = CliRunner().invoke(cli, ["compile", "-f", "-"], input=f"{SERVICE}\n---\n{POD}").stdout.encode()

        class Admin(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                known = self.path == "/config_dump?include_eds"
                self.send_response(200 if known else 404)
                self.end_headers()
                self.wfile.write(dump if known else b"no such path")

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 -- as in the base
                del format, args

        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Admin) as server:
            serving = threading.Thread(target=server.serve_forever)
            serving.start()
            yield f"http://127.0.0.1:{server.server_port}"
            server.shutdown()
            serving.join()

    def test_what_an_envoy_runs_is_asked_for_at_its_admin_port(self, envoy: str) -> None:
        assert asked("--to", "web.shop:80", "--config-dump", envoy).stdout.startswith("reaches: ")

    @pytest.mark.parametrize(
        ("address", "told"),
        [
            ("http://127.0.0.1:1", "does not answer"),
            ("https://127.0.0.1:15000", "expected http://HOST:PORT"),
            ("http://127.0.0.1:x", "is no address of an Envoy's admin port"),
            ("/nowhere/dump.json", "cannot read /nowhere/dump.json"),
        ],
    )
    def test_who_does_not_answer_is_named(self, address: str, told: str) -> None:
        with pytest.raises(TidegateError, match=told):
            raise asked("--to", "web.shop:80", "--config-dump", address).exception or AssertionError


def test_rules_of_a_kernel_from_standard_input(tmp_path: Path) -> None:
    world = tmp_path / "world.yaml"
    world.write_text(f"{SERVICE}\n---\n{POD}")
    rules = ("-A OUTPUT -p tcp --dport 80 -j RETURN", "-A OUTPUT -p tcp -j REDIRECT --to-ports 15001")
    saved = "\n".join(("*nat", ":OUTPUT ACCEPT [0:0]", *rules, "COMMIT", ""))
    question = ["--from", "web-0.shop", "--to", "web.shop:80", "--iptables", "-", "--expect", "not_intercepted"]
    result = CliRunner().invoke(cli, ["explain", "-f", str(world), *question], input=saved)
    assert result.exit_code == 0, result.stdout


class TestCompletion:
    @pytest.mark.parametrize(
        ("command", "option", "begun", "found"),
        [
            ("explain", "--from", "we", ["web-0.shop"]),
            ("explain", "--caller", "", ["web-0.shop"]),
            ("explain", "--to", "", ["web.shop"]),
            ("explain", "--from", "x", []),
            ("compile", "--proxy", "web-0", ["web-0.shop"]),
        ],
    )
    def test_names_are_those_of_the_manifests(
        self, tmp_path: Path, command: str, option: str, begun: str, found: list[str]
    ) -> None:
        (tmp_path / "world.yaml").write_text(f"{SERVICE}\n---\n{POD}")
        shown = ShellComplete(cli, {}, "tidegate", "_X").get_completions([command, "-f", str(tmp_path), option], begun)
        assert [each.value for each in shown] == found

    def test_manifests_that_cannot_be_read_complete_nothing(self) -> None:
        shown = ShellComplete(cli, {}, "tidegate", "_X").get_completions(["explain", "-f", "/nowhere", "--to"], "")
        assert shown == []


class TestDumpsAlone:
    @pytest.fixture
    def dump(self) -> str:
        return CliRunner().invoke(cli, ["compile", "-f", "-"], input=f"{SERVICE}\n---\n{POD}\n{FAULT}").stdout

    @staticmethod
    def asked(tmp_path: Path, dump: str, *options: str) -> Result:
        nowhere = ["--run-dir", str(tmp_path), "--state-dir", str(tmp_path)]
        question = ["explain", *nowhere, "--config-dump", "-", "--to", "web.shop:80", "--ip", "10.96.0.9", *options]
        return CliRunner().invoke(cli, question, input=dump, env={"KUBECONFIG": None})

    @pytest.mark.parametrize("source", ["", "web-0", "web-0.shop"])
    def test_a_dump_tells_whose_it_is(self, tmp_path: Path, dump: str, source: str) -> None:
        result = self.asked(tmp_path, dump, "--from", source)
        assert result.stdout.splitlines()[1] == "decided by VirtualService/shop/web"
        assert "no objects are known" in result.stderr

    @pytest.mark.parametrize(
        ("broken", "told"),
        [
            (("web-0.shop~shop", "x"), "node id 'sidecar~10.1.0.5~x"),
            (("sidecar~10.1.0.5", "ztunnel~10.1.0.5"), "describe it with --proxy-spec"),
            (("", ""), "is that of web-0.shop, not of other.shop"),
        ],
    )
    def test_one_that_does_not_is_refused(self, tmp_path: Path, dump: str, broken: tuple[str, str], told: str) -> None:
        source = () if broken[0] else ("--from", "other.shop")
        with pytest.raises(TidegateError, match=told):
            raise self.asked(tmp_path, dump.replace(*broken), *source).exception or AssertionError

    def test_without_anything_to_answer_from(self, tmp_path: Path) -> None:
        nowhere = ["--run-dir", str(tmp_path), "--state-dir", str(tmp_path)]
        result = CliRunner().invoke(cli, ["explain", *nowhere, "--to", "web:80"], env={"KUBECONFIG": None})
        with pytest.raises(TidegateError, match="or give manifests with -f, or a cluster with --kubeconfig"):
            raise result.exception or AssertionError
