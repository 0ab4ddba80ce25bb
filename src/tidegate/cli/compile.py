"""``tidegate compile``: from YAML to what one proxy would be sent, offline."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tidegate.cli.manifests import (
    PROXIED,
    complete_named,
    manifest_options,
    settings,
    sign_of_life,
    without_collector,
)

if TYPE_CHECKING:
    from tidegate.app.offline.findings import Finding
    from tidegate.app.offline.proxyspec import ProxySpec
    from tidegate.app.offline.world import Offline


@click.command(name="compile")
@manifest_options
@click.option(
    "--proxy",
    default="",
    metavar="NAME[.NS]",
    shell_complete=complete_named(*PROXIED),
    help="The Pod, Deployment or WorkloadEntry meant.",
)
@click.option(
    "--proxy-spec",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="File that describes the proxy (JSON or YAML), where the manifests have no workload for it.",
)
@click.option(
    "--certificates/--no-certificates",
    default=True,
    show_default=True,
    help="Whether workloads have certificates, as Istio's do, and speak mutual TLS.",
)
@click.option(
    "-o",
    "--output",
    type=click.Choice(["json", "yaml", "table"]),
    default="json",
    show_default=True,
    help="An Envoy configuration dump as JSON or YAML, or the tables of proxy-config.",
)
@without_collector()
def compile_command(
    paths: tuple[str, ...], proxy: str, proxy_spec: Path | None, certificates: bool, output: str, **where: Any
) -> None:
    """Print what a proxy would be sent, from manifests alone: no cluster, no server.

    The manifests pass admission as at `kubectl apply`; what it refuses is left out and told on standard error.
    Pods are made of Deployments, and EndpointSlices from Pods where a Service comes without. Cluster IPs and
    allocated addresses stay as they are written. The dump can be read with `tidegate proxy-config ... --file`.

    \b
    Examples:
      tidegate compile -f mesh/ --proxy client.entry > dump.json
      tidegate compile -f mesh/ --proxy client.entry -o table
      tidegate compile -f services.yaml -f rules.yaml --mesh-config mesh.yaml --proxy-spec proxy.yaml
      kubectl get svc,pod,endpointslice,se,vs,dr -A -o yaml | tidegate compile -f - --proxy v1.shop

    \b
    A proxy specification needs a name only:
      {name: client, namespace: entry, ip: 10.1.2.3, labels: {app: client}}
    """
    from tidegate.app.offline.compile import compile_proxy
    from tidegate.app.offline.disputes import idle
    from tidegate.app.offline.manifests import load
    from tidegate.app.offline.world import build

    with sign_of_life("reading and judging the manifests"):
        world = build(load(paths), settings(**where))
    tell(world.findings, certificates=certificates)
    spec = _spec(world, proxy, proxy_spec)
    with sign_of_life(f"compiling for {spec.name}.{spec.namespace}"):
        dump = compile_proxy(world, spec, certificates=certificates).config_dump()
    tell(idle(world))
    _print(dump, output)


def tell(found: Iterable["Finding"], *, certificates: bool = True) -> None:
    """Errors and warnings on standard error, and how many fields have no effect on what is made.

    certificates: whether workloads have them, so that fields which wait for them have their effect.
    """
    from tidegate.app.offline.findings import Severity, for_want_of_certificates

    colours = {"error": "red", "warning": "yellow"}
    told = tuple(found)
    for each in told:
        if each.severity.value in colours:
            click.secho(str(each), err=True, fg=colours[each.severity.value])
    limits = [f for f in told if f.severity is Severity.LIMIT and not (certificates and for_want_of_certificates(f))]
    if limits:
        text = f"note: {len(limits)} field(s) without effect here: tidegate validate --limits lists them"
        click.secho(text, err=True, fg="blue")


def _spec(world: "Offline", proxy: str, file: Path | None) -> "ProxySpec":
    from tidegate.app.offline import proxyspec

    if file is not None:
        return proxyspec.read(file, proxy)
    spec = proxyspec.choose(world.hub.world, proxy)
    for ref, address in world.assumed.items():
        if (ref.namespace, ref.name) == (spec.namespace, spec.name):
            click.secho(f"{ref} has no status: taken to run and be ready at {address}", err=True)
    return spec


def _print(dump: dict[str, Any], output: str) -> None:
    from tidegate.dump import commands

    if output != "table":
        click.echo(commands.structured(dump, output), nl=False)
        return
    from tidegate.dump import tables
    from tidegate.dump.read import parse

    read = parse(json.dumps(dump).encode())
    for title, text in (
        ("Listeners", commands.listeners(read, "short", tables.ListenerFilter())),
        ("Routes", commands.routes(read, "short")),
        ("Clusters", commands.clusters(read, "short", tables.ClusterFilter())),
        ("Endpoints", commands.assignments(read, "short", tables.EndpointFilter())),
    ):
        click.echo(f"------ {title} ------\n\n{text}\n", nl=False)
