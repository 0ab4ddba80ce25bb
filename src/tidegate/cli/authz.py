"""``tidegate authz``: which authorization policies a proxy enforces."""

import click

from tidegate.cli.proxy_config.source import Command, Proxy, of_a_proxy


@click.group()
def authz() -> None:
    """Look into the authorization policies that a proxy enforces.

    \b
    Examples:
      tidegate authz check server.entry
    """


@authz.command(name="check", cls=Command, short_help="The policies in a proxy's configuration.")
@of_a_proxy
def check(proxy: Proxy) -> None:
    """The AuthorizationPolicies that a proxy's Envoy enforces, by action, with the number of their rules.

    What counts is Envoy's configuration: a policy that is not listed is not enforced there, whatever was written.
    `_anonymous_match_nothing_` is an allow list without rules, which lets nothing in.

    \b
    Examples:
      tidegate authz check server.entry
      tidegate authz check --file dump.json
    """
    from tidegate.dump import commands

    click.echo(commands.policies(proxy.load()), nl=False)
