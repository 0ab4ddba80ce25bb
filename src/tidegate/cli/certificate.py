"""``tidegate certificate``: a root and a serving certificate for a first try."""

from pathlib import Path

import click


@click.command()
@click.option("--dir", "folder", type=click.Path(path_type=Path, file_okay=False), required=True, help="Where to.")
@click.option("--name", "names", multiple=True, required=True, help="DNS name or IP address; may be repeated.")
@click.option("--days", type=click.IntRange(1, 3650), default=365, show_default=True, help="How long it is valid.")
def certificate(folder: Path, names: tuple[str, ...], days: int) -> None:
    """Make a root and a certificate for the control plane or the webhook, for a first try.

    Writes root-cert.pem, root-key.pem, tls.crt and tls.key, readable by you alone. A root that is there already signs
    the new certificate, so called again it renews; servers read the files again by themselves.

    \b
    Examples:
      tidegate certificate --dir pki --name istiod.istio-system.svc --name 192.0.2.10
      tidegate discovery --tls-address 0.0.0.0 --tls-cert pki/tls.crt --tls-key pki/tls.key --kubeconfig kubeconfig
    """
    import datetime

    from tidegate.app.certificates import CERTIFICATE, ROOT, make

    made_root = make(folder, names, datetime.timedelta(days=days), datetime.datetime.now(datetime.UTC))
    how = "and its new root" if made_root else "from the root"
    click.echo(f"{folder / CERTIFICATE} for {', '.join(names)}, {how} {folder / ROOT}")
