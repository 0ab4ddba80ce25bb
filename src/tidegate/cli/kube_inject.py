"""``tidegate kube-inject``: manifests in, manifests with sidecars out."""

from pathlib import Path
from typing import Any, TextIO

import click

from tidegate.cli.injection import settings_options


@click.command(name="kube-inject")
@click.option("-f", "--filename", "path", required=True, metavar="FILE|-", help="Manifests, or - for standard input.")
@click.option("-o", "--output", type=click.File("w", lazy=True), default="-", help="Where to write. [default: -]")
@click.option("-n", "--namespace", default="", help="Namespace of objects that name none.")
@click.option(
    "--operator", "operator", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="As --values."
)
@click.option("--explain", is_flag=True, help="Print nothing but what would be done with each object, and why.")
@settings_options
def kube_inject(path: str, output: TextIO, namespace: str, operator: Path | None, explain: bool, **given: Any) -> None:
    """Put the sidecar into the pods of manifests, and print the manifests.

    Pods of every kind are found: Pod, Deployment, StatefulSet, DaemonSet, ReplicaSet, Job, CronJob, List and others.
    Objects without pods come out as they went in. Why a pod gets no sidecar, and warnings, go to standard error.

    \b
    Examples:
      tidegate kube-inject -f deployment.yaml | kubectl apply -f -
      tidegate kube-inject -f deployment.yaml --set global.hub=registry.example.com/mesh --set global.tag=v1
      tidegate kube-inject -f deployment.yaml --mesh-config mesh.yaml --explain
    """
    from tidegate.app import kubeinject
    from tidegate.cli.injection import made_settings
    from tidegate.inject.context import Place

    if operator:
        given["values_files"] = (*given["values_files"], operator)
    results = kubeinject.inject_files(path, made_settings(**given), Place(namespace=namespace))
    text, told = kubeinject.printed(results), kubeinject.told(results)
    for line in told:
        click.echo(line, err=not explain)
    if not explain:
        output.write(text)
