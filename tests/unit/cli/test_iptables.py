"""The command line of ``tidegate iptables``: istio-iptables' flags, short forms and variables."""

import re
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from tidegate.capture import surroundings
from tidegate.cli.iptables import DURATION, clean_iptables, iptables
from tidegate.rules.options import Surroundings

BOTH = Surroundings(ipv6=True)
_ROW = re.compile(r"^\| (--[\w-]+)(?: \((-\w)\))? \| ([A-Z_ or]+?) \|", re.MULTILINE)


@pytest.fixture(autouse=True)
def dual_stack(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(surroundings, "observe", lambda *_: BOTH)


def shown(*arguments: str, **environment: str) -> str:
    done = CliRunner().invoke(iptables, [*arguments, "--dry-run"], env=environment, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_every_option_of_istios_tool_with_its_short_form_and_variables(shared: Path) -> None:
    rows = _ROW.findall((shared / "reference" / "iptables.md").read_text())
    assert len(rows) > 30
    known: dict[str, Any] = {name: each for each in iptables.params for name in each.opts}
    for long, short, variables in rows:
        assert long in known, long
        assert not short or short in known[long].opts, short
        assert set(variables.split(" or ")) <= set(known[long].envvar), long


@pytest.mark.parametrize(
    ("arguments", "environment", "line"),
    [
        (["-p", "1"], {}, "-A ISTIO_REDIRECT -p tcp -j REDIRECT --to-ports 1"),
        ([], {"ENVOY_PORT": "2"}, "-A ISTIO_REDIRECT -p tcp -j REDIRECT --to-ports 2"),
        (["-p", "1"], {"ENVOY_PORT": "2"}, "-A ISTIO_REDIRECT -p tcp -j REDIRECT --to-ports 1"),
        (["-i", "10.0.0.0/8,,"], {}, "-A ISTIO_OUTPUT -d 10.0.0.0/8 -j ISTIO_REDIRECT"),
        (["--drop-invalid"], {}, "-A ISTIO_DROP -j DROP"),
        (["--drop-invalid=true"], {}, "-A ISTIO_DROP -j DROP"),
        ([], {"INVALID_DROP": "true"}, "-A ISTIO_DROP -j DROP"),
        ([], {"DROP_INVALID": "false", "INVALID_DROP": "true"}, "-A ISTIO_DROP -j DROP"),
        ([], {"ISTIO_OUTBOUND_OWNER_GROUPS": ""}, "-A ISTIO_OUTPUT -j RETURN"),
        ([], {"ISTIO_OUTBOUND_OWNER_GROUPS_EXCLUDE": "7"}, "-A ISTIO_OUTPUT -m owner --gid-owner 7 -j RETURN"),
        ([], {"ISTIO_OUTBOUND_IPV4_LOOPBACK_CIDR": "127.0.0.0/8"}, "-A ISTIO_OUTPUT -d 127.0.0.0/8 -j RETURN"),
        (["-u", "5"], {}, "-A ISTIO_OUTPUT -m owner --gid-owner 5 -j RETURN"),
        (["--log_output_level=default:info"], {}, "-A ISTIO_OUTPUT -d ::1/128 -j RETURN"),
        (["--cni-mode", "--redirect-dns"], {}, "-A ISTIO_OUTPUT_DNS -p udp --dport 53 -j CT --zone 2"),
        (["--native-nftables"], {}, "add table inet istio-proxy-nat"),
        ([], {"NATIVE_NFTABLES": "true"}, "add table inet istio-proxy-nat"),
    ],
)
def test_flags_and_variables_become_rules(arguments: list[str], environment: dict[str, str], line: str) -> None:
    assert line in shown(*arguments, **environment).splitlines()


def test_a_switch_may_be_turned_off() -> None:
    assert "ISTIO_DROP" not in shown("--drop-invalid=false", DROP_INVALID="true")


def test_a_dry_run_is_also_written_where_the_variable_says(tmp_path: Path) -> None:
    file = tmp_path / "rules"
    assert shown(DRY_RUN_FILE_PATH=str(file)) == file.read_text() != ""


def test_doubtful_settings_are_told_beside_the_rules() -> None:
    done = CliRunner().invoke(iptables, ["--dry-run", "-i", "10.0.0.0/8,10.1.0.0/16"])
    assert "warning: --istio-service-cidr: 10.1.0.0/16 lies within 10.0.0.0/8" in done.stderr
    assert "warning" not in done.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ["-p", "0"],
        ["-p", "many"],
        ["-m", "NONE"],
        ["--force-iptables-binary", "new"],
        ["--probe-timeout", "soon"],
        ["--probe-timeout", "-1s"],
        ["--probe-timeout", "1000h"],
        ["--drop-invalid=perhaps"],
        ["extra"],
    ],
)
def test_wrong_usage(arguments: list[str]) -> None:
    assert CliRunner().invoke(iptables, [*arguments, "--dry-run"]).exit_code == 2


def test_durations_are_gos() -> None:
    assert DURATION.convert("1m500ms", None, None) == 60.5


def test_cleaning_takes_the_same_options() -> None:
    cleaning = {name for each in clean_iptables.params for name in each.opts}
    applying = {name for each in iptables.params for name in each.opts}
    assert applying - cleaning == {
        *("--cleanup-only", "--skip-rule-apply", "--reconcile", "--force-apply", "--run-validation"),
        *("--iptables-probe-port", "--probe-timeout", "--verify"),
    }
    assert all(isinstance(each, click.Option) for each in clean_iptables.params)
