"""``pilot-agent``: the commands that injected containers call, under Istio's names."""

import click

from tidegate import __version__
from tidegate.cli.main import LazyGroup, run

COMMANDS: dict[str, tuple[str, str]] = {
    "istio-clean-iptables": ("tidegate.cli.iptables:clean_iptables", "Remove the rules that capture traffic."),
    "istio-iptables": ("tidegate.cli.iptables:iptables", "Apply, show or remove the rules that capture traffic."),
    "proxy": ("tidegate.cli.proxy:proxy", "Run a sidecar or a gateway: Envoy and its companion."),
    "request": ("tidegate.cli.proxy:request", "Ask the Envoy of this pod, or its agent."),
    "version": ("tidegate.cli.version:version", "Show the version."),
    "wait": ("tidegate.cli.proxy:wait", "Wait until the proxy is ready."),
}


@click.group(cls=LazyGroup, commands=COMMANDS, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="pilot-agent", message="%(prog)s %(version)s")
def cli() -> None:
    """What the containers of an injected pod call: tidegate's commands under the names that Istio's have.

    \b
    Examples:
      pilot-agent istio-iptables -p 15001 -z 15006 -u 1337 -m REDIRECT -i '*' -b '*' -d 15090,15021,15020
      pilot-agent proxy sidecar --domain shop.svc.cluster.local
      pilot-agent request GET config_dump
    """


def main() -> None:
    """The console script ``pilot-agent``."""
    run(cli)


def iptables_main() -> None:
    """The console script ``istio-iptables``."""
    from tidegate.cli.iptables import iptables

    run(iptables)
