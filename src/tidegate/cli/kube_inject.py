"""``tidegate kube-inject``: manifests in, manifests with sidecars out."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO, TypeVar

import click

from tidegate.cli.injection import FILE, settings_options, sources

F = TypeVar("F", bound=Callable[..., Any])

_NO_CONTROL_PLANE = "no control plane is asked for sidecars; leave it out"
_REFUSED = {
    "--webhookConfig": "sidecars are made here, by no webhook; leave it out, or apply the manifests to its cluster",
    **dict.fromkeys(("--xds-address", "--xds-port", "--xds-label", "--cert-dir", "--authority"), _NO_CONTROL_PLANE),
    "--timeout": _NO_CONTROL_PLANE,
}
_REFUSED_SWITCHES = dict.fromkeys(("--insecure", "--plaintext"), _NO_CONTROL_PLANE)
"""Options that istioctl has and that cannot mean anything here, and what to do instead."""


def _refused_options(command: F) -> F:
    for option, why in {**_REFUSED, **_REFUSED_SWITCHES}.items():

        def refuse(_: click.Context, given: click.Parameter, value: Any, why: str = why) -> None:
            if value:
                raise click.UsageError(f"{given.opts[0]}: {why}")

        command = click.option(
            option, hidden=True, expose_value=False, is_flag=option in _REFUSED_SWITCHES, callback=refuse
        )(command)
    return command


@click.command(name="kube-inject")
@click.option("-f", "--filename", "path", required=True, metavar="FILE|-", help="Manifests, or - for standard input.")
@click.option("-o", "--output", type=click.File("w", lazy=True), default="-", help="Where to write. [default: -]")
@click.option("-n", "--namespace", default="", help="Namespace of objects that name none.")
@click.option(
    "--operatorFileName",
    "--operator",
    "operator",
    type=FILE,
    help="IstioOperator; its values and meshConfig win over those of other files.",
)
@click.option(
    "--injectConfigFile",
    "--inject-config",
    "injector",
    type=FILE,
    help="The injector's templates and policy (the ConfigMap's `config`), or the template `sidecar` alone.",
)
@click.option(
    "-c",
    "--kubeconfig",
    type=click.Path(path_type=Path, dir_okay=False),
    envvar="KUBECONFIG",
    show_envvar=True,
    help="Read from this cluster what no file gives: mesh configuration, templates, values.",
)
@click.option("--context", "cluster_context", help="The kubeconfig's context.")
@click.option("-i", "--istioNamespace", "istio_namespace", help="The control plane's. [default: istio-system]")
@click.option("--meshConfigMapName", "mesh_map", help="The cluster's ConfigMap of the mesh. [default: istio]")
@click.option(
    "--injectConfigMapName",
    "injector_map",
    help="The cluster's ConfigMap of the injector. [default: istio-sidecar-injector]",
)
@click.option("--explain", is_flag=True, help="Print nothing but what would be done with each object, and why.")
@settings_options
@_refused_options
def kube_inject(path: str, output: TextIO, namespace: str, explain: bool, **given: Any) -> None:
    """Put the sidecar into the pods of manifests, and print the manifests.

    Pods of every kind are found: Pod, Deployment, StatefulSet, DaemonSet, ReplicaSet, Job, CronJob, List and others.
    Objects without pods come out as they went in. Why a pod gets no sidecar, and warnings, go to standard error.

    With a kubeconfig the cluster's mesh configuration and injector count where no file is given; without one,
    Istio's defaults.

    \b
    Examples:
      tidegate kube-inject -f deployment.yaml | kubectl apply -f -
      tidegate kube-inject -f deployment.yaml --set global.hub=registry.example.com/mesh --set global.tag=v1
      tidegate kube-inject -f deployment.yaml --meshConfigFile mesh.yaml --explain
      tidegate kube-inject -f deployment.yaml --kubeconfig ~/.kube/config --revision canary -o injected.yaml
    """
    import msgspec

    from tidegate.app import injection, kubeinject
    from tidegate.inject.context import Place

    own = {name: given.pop(name) for name in ("operator", "injector", "istio_namespace")}
    found = injection.gather(
        msgspec.structs.replace(
            sources(**{name: given.pop(name) for name in _SHARED}),
            operator=own["operator"],
            injector=own["injector"],
            namespace=own["istio_namespace"] or "",
            cluster=_cluster(injector=own["injector"], **given),
        )
    )
    results = kubeinject.inject_files(path, found.settings, Place(namespace=namespace), found.services)
    text, told = kubeinject.printed(results), kubeinject.told(results)
    for line in (*found.notes, *told):
        click.echo(line, err=not explain)
    if not explain:
        output.write(text)


_SHARED = ("values_files", "assignments", "mesh_config", "revision", "native", "platform")


def _cluster(
    kubeconfig: Path | None,
    cluster_context: str | None,
    mesh_map: str | None,
    injector_map: str | None,
    injector: Path | None,
) -> Any:
    """The cluster to read; None where nothing of one is named."""
    from tidegate.app.injection import Cluster

    if injector and injector_map:
        raise click.UsageError("--injectConfigFile and --injectConfigMapName: both give the templates; leave one out")
    named = {"--context": cluster_context, "--meshConfigMapName": mesh_map, "--injectConfigMapName": injector_map}
    if kubeconfig is None and any(named.values()):
        usual = Path.home() / ".kube" / "config"
        if not usual.exists():
            asked = next(option for option, value in named.items() if value)
            raise click.UsageError(f"{asked}: which cluster? give --kubeconfig, or set KUBECONFIG")
        kubeconfig = usual
    if kubeconfig is None:
        return None
    return Cluster(
        kubeconfig=kubeconfig, context=cluster_context, mesh_map=mesh_map or "", injector_map=injector_map or ""
    )
