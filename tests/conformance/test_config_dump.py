"""``proxy-config`` against what istioctl prints for the same dumps.

Left out: ``ztunnel-config`` (dumps of another proxy) and ``x authz``, which tidegate has no commands for.
"""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from tidegate.cli.proxy_config import proxy_config

pytestmark = pytest.mark.conformance

FLOORS = {
    "all": 11,
    "bootstrap": 17,
    "cluster": 31,
    "ecds": 14,
    "eds": 29,
    "listener": 40,
    "route": 41,
    "secret": 17,
}
"""How many of a command's cases pass; they only rise. ``eds --address`` finds an address here and none there."""

VALIDITY = re.compile(r"\b(true |false)(?= )")
"""VALID CERT is of the day on which it was printed."""


def load(shared: Path, command: str) -> list[dict[str, Any]]:
    folder = shared / "conformance" / "config_dump"
    cases = [json.loads(f.read_text()) for f in sorted((folder / "cases").glob("*.json"))]
    return [c for c in cases if c["args"][:2] == ["proxy-config", command]]


def run(shared: Path, case: dict[str, Any]) -> tuple[int, str]:
    dump = shared / "conformance" / "config_dump" / case["dump"]
    result = CliRunner().invoke(proxy_config, [str(dump) if a == "DUMP" else a for a in case["args"][1:]])
    return (1 if result.exit_code else 0), result.stdout


def agrees(case: dict[str, Any], code: int, text: str) -> bool:
    if code != case["exit_code"]:
        return False
    if case["exit_code"] and not case["stdout"]:
        return not text
    expected = case["stdout"]
    if "json" in case["args"] or (case["args"][1] == "bootstrap" and "-o" not in case["args"]):
        return bool(json.loads(text) == json.loads(expected))
    if "yaml" in case["args"]:
        return bool(yaml.safe_load(text) == yaml.safe_load(expected))
    return VALIDITY.sub("?????", text.rstrip("\n")) == VALIDITY.sub("?????", expected.rstrip("\n"))


@pytest.mark.parametrize("command", sorted(FLOORS))
def test_output_agrees_with_istioctl(shared: Path, command: str) -> None:
    cases = load(shared, command)
    failing = [case["name"] for case in cases if not agrees(case, *run(shared, case))]
    passed = len(cases) - len(failing)
    print(f"{command}: {passed} of {len(cases)} agree; not: {failing}")
    assert passed >= FLOORS[command], failing
