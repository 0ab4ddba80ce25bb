"""Help is shown without loading what only a running command needs."""

import json
import subprocess
import sys
from collections.abc import Iterator

import click
import pytest

from tidegate.cli.main import COMMANDS, cli

HEAVY = ("grpc", "google.protobuf", "envoy", "uvicorn", "starlette", "aiohttp", "pyroute2", "rich", "cryptography")

PROXY_CONFIG = (
    "all",
    "bootstrap",
    "cluster",
    "ecds",
    "eds",
    "endpoint",
    "listener",
    "log",
    "rootca-compare",
    "route",
    "secret",
)
GROUPS = [["proxy-config", each] for each in PROXY_CONFIG] + [
    ["lab", each] for each in ("up", "down", "exec", "logs", "status")
]
GROUPS += [["describe", each] for each in ("workload", "service")]
GROUPS += [["authz", "check"], ["x", "authz", "check"]]


def loaded_by(args: list[str]) -> tuple[str, set[str]]:
    """What a fresh interpreter prints for ``tidegate ARGS --help`` and which heavy packages it loaded."""
    script = (
        "import sys, json, io, contextlib\n"
        "from tidegate.cli.main import cli\n"
        "out = io.StringIO()\n"
        "with contextlib.redirect_stdout(out):\n"
        f"    cli.main({[*args, '--help']!r}, prog_name='tidegate', standalone_mode=False)\n"
        f"found = [h for h in {HEAVY!r} if h in sys.modules]\n"
        "print(json.dumps([out.getvalue(), found]))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    text, found = json.loads(done.stdout)
    return text, set(found)


@pytest.mark.parametrize("args", [[], *([name] for name in sorted(COMMANDS)), *GROUPS], ids=" ".join)
def test_help_loads_nothing_heavy(args: list[str]) -> None:
    text, loaded = loaded_by(args)
    assert text.startswith("Usage: tidegate")
    assert not loaded


def test_every_command_is_listed_with_its_purpose() -> None:
    text, _ = loaded_by([])
    for name, (_, purpose) in COMMANDS.items():
        assert name in text
        assert purpose.split()[0] in text


def test_each_listed_purpose_is_that_of_the_command() -> None:
    context = cli.make_context("tidegate", ["version"])
    for name in COMMANDS:
        assert cli.get_command(context, name) is not None, name


def every_command(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """All commands below, groups among them, by their words."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield (*path, name), command
        if isinstance(command, click.Group):
            yield from every_command(command, (*path, name))


def test_every_command_has_examples_that_call_it() -> None:
    for words, command in every_command(cli):
        start, found, examples = (command.help or "").partition("Examples:\n")
        lines = [line.strip() for line in examples.splitlines() if line.strip()]
        called = [line for line in lines if f"tidegate {' '.join(words)}" in line]
        assert found and start.rstrip().endswith("\b") and called, f"tidegate {' '.join(words)}: {lines}"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script(shell: str) -> None:
    command = [sys.executable, "-m", "tidegate", "completion", shell]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert "_TIDEGATE_COMPLETE" in done.stdout


def test_an_unknown_command_is_refused_with_a_hint() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tidegate", "proxy-confg"], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 2
    assert "No such command 'proxy-confg'" in done.stderr
