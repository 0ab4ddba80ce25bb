"""proxy-config all, bootstrap, secret and ecds from files: forms, titles, short names, flags as Go writes them."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from tidegate.cli.proxy_config import proxy_config
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
