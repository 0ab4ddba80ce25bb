"""``tidegate manifest``: the control plane for a cluster, as manifests."""

from pathlib import Path

import click

from tidegate.cli.injection import FILE


@click.command(name="manifest")
@click.option("--image", default="", help="The image to run. [default: localhost/tidegate/proxyv2 of this version]")
@click.option("-n", "--namespace", default="istio-system", show_default=True, help="Where the control plane lives.")
@click.option("--mesh-config", type=FILE, help="File with the MeshConfig: discovery and webhook go by it.")
@click.option("--ca", type=FILE, help="Root of the control plane's certificate, PEM: registers the webhook.")
@click.option("--crds/--no-crds", default=True, show_default=True, help="Define Istio's kinds.")
def manifest(image: str, namespace: str, mesh_config: Path | None, ca: Path | None, crds: bool) -> None:
    """Print the manifests that run the control plane in a cluster: discovery and webhook, with the rights to read what
    they go by, to write the status of Istio's objects, and no others.

    The Secret istiod-tls holds the certificate that both serve with, for istiod.istio-system.svc; docs/kubernetes.md
    makes one. Apply on the server's side: the definitions of kinds are too long for kubectl's annotation.

    \b
    Examples:
      tidegate manifest --ca ca.crt | kubectl apply --server-side -f -
      tidegate manifest --ca ca.crt --no-crds --mesh-config mesh.yaml | kubectl apply --server-side -f -
    """
    import yaml

    from tidegate import __version__
    from tidegate.app.installation import Wanted, manifests
    from tidegate.cli.injection import mesh_text

    roots = ca.read_bytes() if ca else b""
    if ca and b"BEGIN CERTIFICATE" not in roots:
        raise click.UsageError(f"--ca {ca}: expected a certificate in PEM")
    wanted = Wanted(
        image=image or f"localhost/tidegate/proxyv2:{__version__}",
        namespace=namespace,
        roots=roots,
        definitions=crds,
        **({"mesh": mesh_text(mesh_config)} if mesh_config else {}),
    )
    click.echo(yaml.dump_all(manifests(wanted), Dumper=yaml.CSafeDumper, sort_keys=False), nl=False)
