"""``proxy-config`` on recorded dumps: the same tables, the same JSON, the same errors as istioctl prints."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from click.testing import CliRunner

from conformance import difference
from conformance.suite import Json, Outcome, judged
from tidegate.cli.main import cli

_AMBIENT = "ztunnel/"
"""Cases of another proxy, which ambient mode runs."""
_VALIDITY = re.compile(r"\b(true |false)(?= )")
"""VALID CERT is of the day on which it was printed."""


def judge(folder: Path) -> Iterator[Outcome]:
    files = sorted((folder / "cases").glob("*.json"))
    cases = [case for file in files if not (case := json.loads(file.read_text()))["name"].startswith(_AMBIENT)]
    return judged(cases, lambda c: str(c["name"]), lambda c: _judge(folder, c))


def _judge(folder: Path, case: Json) -> str:
    dump = str(folder / case["dump"])
    result = CliRunner().invoke(cli, [dump if a == "DUMP" else a for a in case["args"]])
    code = 1 if result.exit_code else 0
    if code != case["exit_code"]:
        return f"expected exit code {case['exit_code']}, got {code}\n{result.output[:2000]}"
    if case["exit_code"] and not case["stdout"]:
        return f"expected no output, got\n{result.stdout}" if result.stdout else ""
    return difference.of(_readable(case, case["stdout"]), _readable(case, result.stdout))


def _readable(case: Json, text: str) -> Any:
    """JSON and YAML by what they say, tables by their text."""
    args = case["args"]
    if "json" in args or (args[1] == "bootstrap" and "-o" not in args):
        return json.loads(text)
    if "yaml" in args:
        return yaml.safe_load(text)
    return _VALIDITY.sub("?????", text.rstrip("\n"))
