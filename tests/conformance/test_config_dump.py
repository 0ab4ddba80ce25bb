"""``proxy-config`` against the tables that istioctl prints for the same dumps."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from tidegate.cli.proxy_config import proxy_config

pytestmark = pytest.mark.conformance

FLOOR = 137
"""How many of the cases for the four tables pass; it only rises."""

COMMANDS = {"listener", "route", "cluster", "eds"}


def load(shared: Path) -> list[dict[str, Any]]:
    folder = shared / "conformance" / "config_dump"
    cases = [json.loads(f.read_text()) for f in sorted((folder / "cases").glob("*.json"))]
    return [c for c in cases if c["args"][0] == "proxy-config" and c["args"][1] in COMMANDS]


def run(shared: Path, case: dict[str, Any]) -> tuple[int, str]:
    dump = shared / "conformance" / "config_dump" / case["dump"]
    args = [str(dump) if a == "DUMP" else a for a in case["args"][1:]]
    args = ["endpoint" if a == "eds" else "--no-verbose" if a == "--verbose=false" else a for a in args]
    result = CliRunner().invoke(proxy_config, args)
    return (1 if result.exit_code else 0), result.stdout


def agrees(case: dict[str, Any], code: int, text: str) -> bool:
    if case["exit_code"] or code:
        return bool(case["exit_code"]) == bool(code)
    if "json" in case["args"]:
        return bool(json.loads(text) == json.loads(case["stdout"]))
    if "yaml" in case["args"]:
        return bool(yaml.safe_load(text) == yaml.safe_load(case["stdout"]))
    return text.rstrip("\n") == case["stdout"].rstrip("\n")


def test_tables_agree_with_istioctl(shared: Path) -> None:
    cases = load(shared)
    failing = [case["name"] for case in cases if not agrees(case, *run(shared, case))]
    passed = len(cases) - len(failing)
    print(f"{passed} of {len(cases)} agree; not: {failing}")
    assert passed >= FLOOR, failing
