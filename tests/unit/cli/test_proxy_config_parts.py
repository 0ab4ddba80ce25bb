"""proxy-config all, bootstrap, secret and ecds from files: forms, titles, short names, flags as Go writes them."""

import base64
import datetime
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tidegate.cli.main import cli
from tidegate.cli.proxy_config import proxy_config, source
from tidegate.dump.read import SECRETS, Dump
from tidegate.kit.errors import TidegateError

ADMIN = "type.googleapis.com/envoy.admin.v3."


@pytest.fixture
def dump(tmp_path: Path) -> Path:
    listeners = [
        {"listener": {"name": str(port), "address": {"socket_address": {"address": "0.0.0.0", "port_value": port}}}}
        for port in (80, 8080)
    ]
    secret = {"name": "default", "secret": {"tls_certificate": {"private_key": {"inline_string": "hush"}}}}
    sections: dict[str, Any] = {
        "Bootstrap": {"bootstrap": {"node": {"metadata": {"ISTIO_VERSION": "0.1.0"}}}},
        "Clusters": {"static_clusters": [{"cluster": {"name": "outbound|80||a.example"}}]},
        "Listeners": {"static_listeners": listeners},
        "Routes": {"static_route_configs": [{"route_config": {"name": "80", "virtual_hosts": [{"name": "v"}]}}]},
        "Secrets": {"static_secrets": [secret]},
        "Ecds": {"ecds_filters": [{"ecds_filter": {"name": "mine"}}]},
    }
    configs = [{"@type": f"{ADMIN}{name}ConfigDump", **body} for name, body in sections.items()]
    file = tmp_path / "dump.json"
    file.write_text(json.dumps({"configs": configs}))
    return file


def run(*args: str) -> str:
    result = CliRunner().invoke(proxy_config, list(args), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_bootstrap_is_json_unless_asked_otherwise(dump: Path) -> None:
    body = {"bootstrap": {"node": {"metadata": {"ISTIO_VERSION": "0.1.0"}}}}
    assert json.loads(run("bootstrap", "-f", str(dump))) == body
    assert yaml.safe_load(run("b", "-f", str(dump), "-o", "yaml")) == body
    assert run("b", "-f", str(dump), "-o", "short").startswith("Istio Version:       0.1.0\n")


def test_titles_are_printed_when_asked_for(dump: Path) -> None:
    parts = ["BOOTSTRAP", "CLUSTER", "LISTENER", "ROUTE", "SECRET", "ENDPOINTS"]
    titles = [f"------ {part} INFO ------" for part in parts]
    text = run("all", "-f", str(dump), "--with-headers")
    assert [line for line in text.splitlines() if line.startswith("---")] == titles
    assert "---" not in run("all", "-f", str(dump), "--with-headers=false")


def test_filters_reach_their_tables(dump: Path) -> None:
    text = run("a", "-f", str(dump), "--port", "8080", "--no-verbose")
    assert "listener/8080" in text and "listener/80 " not in text and "a.example" not in text
    assert "a.example" in run("a", "-f", str(dump), "--fqdn", "a.ex")
    assert "route/80" not in run("a", "-f", str(dump), "--name", "none")


@pytest.mark.parametrize("form", ["json", "yaml"])
@pytest.mark.parametrize("part", ["secret", "all"])
def test_keys_are_never_printed(dump: Path, part: str, form: str) -> None:
    text = run(part, "-f", str(dump), "-o", form)
    assert "default" in text and "[redacted]" in text and "hush" not in text


@pytest.mark.parametrize(
    ("short", "long"),
    [("a", "all"), ("c", "clusters"), ("ec", "ecds"), ("l", "listeners"), ("r", "routes"), ("s", "secrets")],
)
def test_short_names(dump: Path, short: str, long: str) -> None:
    assert run(short, "-f", str(dump)) == run(long, "-f", str(dump))


@pytest.mark.parametrize(("value", "column"), [("false", "TYPE"), ("0", "TYPE"), ("true", "MATCH")])
def test_a_flag_may_have_its_value_as_go_writes_it(dump: Path, value: str, column: str) -> None:
    assert column in run("listener", "-f", str(dump), f"--verbose={value}").splitlines()[0]


def test_a_flag_with_another_value_is_refused(dump: Path) -> None:
    result = CliRunner().invoke(proxy_config, ["listener", "-f", str(dump), "--verbose=maybe"])
    assert result.exit_code == 2


def test_a_part_that_the_dump_lacks_is_told(tmp_path: Path) -> None:
    file = tmp_path / "empty.json"
    file.write_text('{"configs": []}')
    with pytest.raises(TidegateError, match=r"no configuration type.*EcdsConfigDump"):
        run("ecds", "-f", str(file))
    assert run("eds", "-f", str(file)).split() == ["NAME", "STATUS", "LOCALITY", "CLUSTER"]


@pytest.mark.parametrize("depth", [300, 450, 900, 5000])
@pytest.mark.parametrize("args", [["all", "-o", "json"], ["all", "-o", "yaml"], ["bootstrap"], ["ecds", "-o", "yaml"]])
def test_a_dump_that_is_nested_too_deeply_is_refused_or_printed(tmp_path: Path, args: list[str], depth: int) -> None:
    deep = '{"a":' * depth + "1" + "}" * depth
    sections = [f'{{"@type": "{ADMIN}{name}ConfigDump", "x": {deep}}}' for name in ("Bootstrap", "Ecds")]
    file = tmp_path / "deep.json"
    file.write_text(f'{{"configs": [{",".join(sections)}]}}')
    result = CliRunner().invoke(proxy_config, [*args, "-f", str(file)])
    if result.exit_code == 0:
        assert result.stdout.count("a") >= depth
    else:
        assert isinstance(result.exception, TidegateError), result.exception


def asked(*args: str) -> str:
    result = CliRunner().invoke(cli, list(args), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_policies_are_checked_under_both_names(dump: Path) -> None:
    assert asked("authz", "check", "-f", str(dump)) == "ACTION   AuthorizationPolicy   RULES\n"
    assert asked("x", "authz", "check", "-f", str(dump)) == asked("experimental", "authz", "check", "-f", str(dump))


def test_endpoints_are_found_with_and_without_their_port(tmp_path: Path) -> None:
    places = [
        {"endpoint": {"address": {"socket_address": {"address": a, "port_value": 80}}}} for a in ("10.0.0.1", "::1")
    ]
    config = {"cluster_name": "outbound|80||a.example", "endpoints": [{"lb_endpoints": places}]}
    body = {"@type": f"{ADMIN}EndpointsConfigDump", "dynamic_endpoint_configs": [{"endpoint_config": config}]}
    file = tmp_path / "dump.json"
    file.write_text(json.dumps({"configs": [body]}))
    for address in ("10.0.0.1", "10.0.0.1:80"):
        assert run("eds", "-f", str(file), "--address", address).splitlines()[1].startswith("10.0.0.1:80 ")
        (found,) = json.loads(run("eds", "-f", str(file), "--address", address, "-o", "json"))
        assert found["endpoints"] == [
            {"lbEndpoints": [{"endpoint": {"address": {"socketAddress": {"address": "10.0.0.1", "portValue": 80}}}}]}
        ]
    assert "::1:80 " in run("eds", "-f", str(file))
    assert json.loads(run("eds", "-f", str(file), "--address", "10.0.0.2", "-o", "json")) == []


@pytest.mark.parametrize(("second", "code"), [("one", 0), ("two", 1), ("none", 1)])
def test_roots_are_compared(second: str, code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    held = {name: Dump({SECRETS: [{"staticSecrets": [secret]}]}) for name, secret in trusted().items()}
    monkeypatch.setattr(source, "load", lambda _file, name, _namespace, _run_dir: held[name])
    result = CliRunner().invoke(proxy_config, ["rc", "one", second])
    assert result.exit_code == code
    assert ("one.default and one.default have a root in common" in result.stdout) is (code == 0)
    assert isinstance(result.exception, TidegateError) is (code == 1)


def trusted() -> dict[str, Any]:
    """Secrets of proxies: two with a root of their own, one with none."""
    out: dict[str, Any] = {"none": {"name": "default", "secret": {}}}
    for name in ("one", "two"):
        text = base64.b64encode(make_root(name)).decode()
        out[name] = {"name": "ROOTCA", "secret": {"validationContext": {"trustedCa": {"inlineBytes": text}}}}
    return out


def make_root(name: str) -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    begin = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    unsigned = x509.CertificateBuilder(subject, subject, key.public_key(), 1, begin, begin.replace(year=2036))
    return unsigned.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


@pytest.mark.parametrize("part", ["listener", "cluster", "route"])
def test_a_dump_without_what_is_asked_for_says_so(part: str, tmp_path: Path) -> None:
    file = tmp_path / "dump.json"
    sections = ("Listeners", "Clusters", "Routes")
    file.write_text(json.dumps({"configs": [{"@type": f"{ADMIN}{each}ConfigDump"} for each in sections]}))
    result = CliRunner().invoke(proxy_config, [part, "-f", str(file)])
    assert str(result.exception) == f"no {part}s found"


def test_a_proxy_without_secrets_says_so(tmp_path: Path) -> None:
    file = tmp_path / "dump.json"
    file.write_text(json.dumps({"configs": [{"@type": f"{ADMIN}SecretsConfigDump"}]}))
    assert run("secret", "-f", str(file)) == "No active or warming secrets found.\n"
