"""``tidegate webhook``: the injection webhook, and the manifest that has a cluster call it."""

from pathlib import Path
from typing import Any

import click

from tidegate.cli.injection import FILE, settings_options, sources


@click.group(name="webhook", invoke_without_command=True)
@click.option("--tls-cert", type=FILE, help="Certificate chain, PEM; read again when it changes.")
@click.option("--tls-key", type=FILE, help="Its private key, PEM.")
@click.option("--host", default="0.0.0.0", show_default=True, help="Address to listen on.")  # noqa: S104 (API servers call it)
@click.option("--port", type=click.IntRange(0, 65535), default=15017, show_default=True, help="0 is any free one.")
@click.option(
    "--injectConfigFile", "injector", type=FILE, help="Templates and policy, as Istio's ConfigMap has them in `config`."
)
@click.option(
    "--kubeconfig",
    type=FILE,
    help="The cluster whose Services, namespaces and kubelets are known to injection; without it none is read.",
)
@settings_options
@click.pass_context
def webhook(context: click.Context, /, tls_cert: Path | None, tls_key: Path | None, **given: Any) -> None:
    """Put the sidecar into pods as a cluster admits them: a mutating admission webhook.

    Answers POST /inject with AdmissionReview of admission.k8s.io/v1. Prints `ready https://HOST:PORT/inject` once it
    serves; SIGTERM stops it. Files of settings and the certificate are read again when they change.

    \b
    Examples:
      tidegate webhook --tls-cert tls.crt --tls-key tls.key
      tidegate webhook manifest --ca ca.crt --service tidegate-webhook | kubectl apply -f -
    """
    if context.invoked_subcommand:
        return
    if tls_cert is None or tls_key is None:
        raise click.UsageError("--tls-cert and --tls-key are required: API servers call webhooks over HTTPS only")
    import asyncio
    import logging

    import msgspec

    from tidegate.app.clusterfacts import ClusterFacts
    from tidegate.app.injection import Following
    from tidegate.app.webhook import Cluster, Listening, serve

    logging.basicConfig(level="INFO", format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    host, port, injector = given.pop("host"), given.pop("port"), given.pop("injector")
    kubeconfig: Path | None = given.pop("kubeconfig")
    cluster = Cluster(kubeconfig, ClusterFacts(detects=given["native"] is None)) if kubeconfig else None
    listening = Listening(host=host, port=port, certificate=tls_cert, key=tls_key)
    shown = f"[{host}]" if ":" in host else host
    asyncio.run(
        serve(
            Following(msgspec.structs.replace(sources(**given), injector=injector)),
            listening,
            lambda chosen: click.echo(f"ready https://{shown}:{chosen}/inject"),
            cluster,
        )
    )


@webhook.command()
@click.option("--ca", type=FILE, required=True, help="Certificate of the authority that the webhook's is from, PEM.")
@click.option("--url", default="", help="Where the webhook is, if outside the cluster: https://HOST:PORT.")
@click.option("--service", default="tidegate-webhook", show_default=True, help="Its Service, if in the cluster.")
@click.option("-n", "--namespace", default="istio-system", show_default=True, help="The Service's namespace.")
@click.option("--revision", default="default", show_default=True, help="Which istio.io/rev calls it.")
@click.option("--enable-namespaces-by-default", "every", is_flag=True, help="Namespaces that say nothing too.")
def manifest(ca: Path, url: str, service: str, namespace: str, revision: str, every: bool) -> None:
    """Print the MutatingWebhookConfiguration that has a cluster's pods sent to the webhook.

    \b
    Examples:
      tidegate webhook manifest --ca ca.crt | kubectl apply -f -
      tidegate webhook manifest --ca ca.crt --url https://192.0.2.10:15017
    """
    import yaml

    from tidegate.inject.webhookconfig import configuration

    if url and not url.startswith("https://"):
        raise click.UsageError(f"--url {url}: expected https://HOST:PORT: API servers call webhooks over HTTPS only")
    data = ca.read_bytes()
    if b"BEGIN CERTIFICATE" not in data:
        raise click.UsageError(f"--ca {ca}: expected a certificate in PEM")
    made = configuration(revision, data, url=url, service=service, namespace=namespace, every=every)
    click.echo(yaml.dump(made, Dumper=yaml.CSafeDumper, sort_keys=False), nl=False)
