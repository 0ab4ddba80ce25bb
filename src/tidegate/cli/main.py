"""The ``tidegate`` command and its lazily loaded subcommands."""

import importlib
import os
import sys
from typing import Any

import click

from tidegate import __version__

COMMANDS: dict[str, tuple[str, str]] = {
    "agent": ("tidegate.cli.agent:agent", "Run one workload's sidecar: Envoy and its companion."),
    "authz": ("tidegate.cli.authz:authz", "Show which authorization policies a proxy enforces."),
    "apiserver": ("tidegate.cli.apiserver:apiserver", "Run the embedded Kubernetes-style API server."),
    "capture": (
        "tidegate.cli.capture:capture",
        "Explain packet rules: what each serves, and what becomes of a packet.",
    ),
    "certificate": ("tidegate.cli.certificate:certificate", "Make a root and a certificate for a first try."),
    "clean-iptables": ("tidegate.cli.iptables:clean_iptables", "Remove the rules that capture traffic."),
    "compile": ("tidegate.cli.compile:compile_command", "Print what a proxy would be sent, from manifests alone."),
    "completion": ("tidegate.cli.completion:completion", "Print the shell completion script for bash, zsh or fish."),
    "dashboard": ("tidegate.cli.dashboard:dashboard", "Show the mesh in a browser on this machine."),
    "connections": ("tidegate.cli.connections:connections", "Show who talks to whom, through the proxy or around it."),
    "describe": ("tidegate.cli.describe:describe", "Tell what holds for a workload or a service, and why."),
    "discovery": ("tidegate.cli.discovery:discovery", "Run the control plane that tells the sidecars what to do."),
    "explain": ("tidegate.cli.explain:explain", "Tell what becomes of one connection, and which line decides it."),
    "iptables": ("tidegate.cli.iptables:iptables", "Apply, show or remove the rules that capture traffic."),
    "kube-inject": ("tidegate.cli.kube_inject:kube_inject", "Put the sidecar into the pods of manifests."),
    "lab": ("tidegate.cli.lab:lab", "Run workloads and outside hosts as network namespaces on this machine."),
    "logs": ("tidegate.cli.logs:logs", "Print a proxy's access log, and explain it in words."),
    "proxy": ("tidegate.cli.proxy:proxy", "Run a sidecar or a gateway as Istio's containers start it."),
    "manifest": ("tidegate.cli.installation:manifest", "Print the manifests that run the control plane in a cluster."),
    "proxy-config": ("tidegate.cli.proxy_config:proxy_config", "Show what a proxy was told."),
    "proxy-status": ("tidegate.cli.proxy_status:proxy_status", "Show which proxies are connected and in sync."),
    "request": ("tidegate.cli.proxy:request", "Ask the Envoy of this pod or machine, or its agent."),
    "validate": ("tidegate.cli.validate:validate", "Tell every error and warning of manifests, with lines."),
    "wait": ("tidegate.cli.proxy:wait", "Wait until the proxy of this pod or machine is ready."),
    "webhook": ("tidegate.cli.webhook:webhook", "Put the sidecar into pods as a cluster admits them."),
    "version": ("tidegate.cli.version:version", "Show the versions of tidegate, the control plane and the proxies."),
}
"""Command name to "module:attribute" and its one-line help, so that ``--help`` imports no command."""

TRACEBACK = "TIDEGATE_TRACEBACK"
"""Variable that asks for the whole traceback of an unforeseen error."""
_LONGEST = 500

ALIASES = {"pc": "proxy-config", "ps": "proxy-status"}
EXPERIMENTAL = ("experimental", "exp", "x")
"""Words before a command that istioctl has in a group of this name; here it is a command like the others."""


class LazyGroup(click.Group):
    """A group that imports a subcommand only when it is invoked."""

    def __init__(self, *given: Any, commands: dict[str, tuple[str, str]], **settings: Any) -> None:
        super().__init__(*given, **settings)
        self._table = commands

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(self._table)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        name = ALIASES.get(name, name)
        if name not in self._table:
            return None
        module, _, attribute = self._table[name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if len(args) > 1 and args[0] in EXPERIMENTAL:
            args = args[1:]
        _, command, rest = super().resolve_command(ctx, args)
        return (command.name if command else None), command, rest

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, self._table[name][1]) for name in sorted(self._table)])


@click.group(cls=LazyGroup, commands=COMMANDS, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="tidegate", message="%(prog)s %(version)s")
def cli() -> None:
    """A service mesh with the Istio API on unmodified Envoy.

    It runs whole on one machine: `tidegate lab up -f lab.yaml` starts the API server, the control plane and the
    workloads; then kubectl applies Istio's YAML, and `tidegate proxy-config` shows what a proxy was told.
    """


def main() -> None:
    """The console script ``tidegate``."""
    run(cli)


def run(command: click.Command) -> None:
    """Run a command: errors that are meant for the user are printed without a traceback."""
    from tidegate.kit.errors import TidegateError

    try:
        command.main(standalone_mode=True)
    except TidegateError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(1)
    except Exception as error:
        if os.environ.get(TRACEBACK):
            raise
        click.echo(f"error: {_fault(error)}", err=True)
        sys.exit(1)


def _fault(error: Exception) -> str:
    """What is said of an error that nobody foresaw: enough to report it."""
    import traceback

    at = traceback.extract_tb(error.__traceback__)[-1]
    said = f"{type(error).__name__}: {error}"[:_LONGEST]
    return f"{said} (in {at.name}, {at.filename}:{at.lineno}): a fault of tidegate's own; {TRACEBACK}=1 shows all of it"
