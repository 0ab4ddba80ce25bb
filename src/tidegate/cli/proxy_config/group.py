"""The group, and the short names of its subcommands."""

import click

from tidegate.cli.proxy_config import log, parts, resources, roots

ALIASES = {
    "a": "all",
    "b": "bootstrap",
    "c": "cluster",
    "clusters": "cluster",
    "ec": "ecds",
    "ep": "endpoint",
    "endpoints": "endpoint",
    "l": "listener",
    "listeners": "listener",
    "o": "log",
    "r": "route",
    "rc": "rootca-compare",
    "routes": "route",
    "s": "secret",
    "secrets": "secret",
}


class _Group(click.Group):
    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        return super().get_command(ctx, ALIASES.get(name, name))


@click.group(name="proxy-config", cls=_Group)
def proxy_config() -> None:
    """Show what a proxy was told: listeners, routes, clusters, endpoints, certificates and its start.

    NAME is a workload, NAME.NAMESPACE or NAME with -n. With --file a saved Envoy config dump is read instead.

    \b
    Examples:
      tidegate proxy-config listener client.entry --port 80
      tidegate proxy-config route client -n entry --name 80 -o yaml
      tidegate proxy-config endpoint client.entry --cluster "outbound|80||nginx.ext.example"
      tidegate proxy-config cluster --file dump.json --direction outbound
      tidegate proxy-config log client.entry --level http:debug,router:debug
    """


for _command in (
    parts.everything,
    parts.bootstrap,
    resources.cluster,
    parts.ecds,
    resources.eds,
    resources.endpoint,
    resources.listener,
    log.log,
    roots.compare,
    resources.route,
    parts.secret,
):
    proxy_config.add_command(_command)
