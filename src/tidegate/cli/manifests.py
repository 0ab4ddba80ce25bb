"""Options and printing that the commands which read manifests share."""

import contextlib
import gc
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from tidegate.app.offline.world import Settings

F = TypeVar("F", bound=Callable[..., Any])
Complete = Callable[[click.Context, click.Parameter, str], list[str]]
PROXIED = ("Deployment", "Pod", "WorkloadEntry")
"""Kinds by whose names a proxy is called."""


def manifest_options(command: F) -> F:
    """-f, --mesh-config, -n, --domain and --env: a world of manifests."""
    return _manifest_options(command, required=True)


def optional_manifests(command: F) -> F:
    """The same for commands that take their world from elsewhere when no -f is given."""
    return _manifest_options(command, required=False)


def _manifest_options(command: F, *, required: bool) -> F:
    command = click.option(
        "--env",
        "variables",
        multiple=True,
        metavar="NAME=VALUE",
        help="A variable of istiod's environment that the world is to have, as ISTIO_DUAL_STACK=true; repeatable.",
    )(command)
    command = click.option("--domain", default="cluster.local", show_default=True, help="Domain of service names.")(
        command
    )
    command = click.option(
        "-n", "--namespace", default="default", show_default=True, help="Namespace of objects that name none."
    )(command)
    command = click.option(
        "--mesh-config",
        type=click.Path(path_type=Path, exists=True, dir_okay=False),
        help="File with the MeshConfig, or the ConfigMap that holds it [default: the manifests' own, else Istio's].",
    )(command)
    return click.option(
        "-f",
        "--filename",
        "paths",
        multiple=True,
        required=required,
        metavar="DIR|FILE|-",
        help="Manifests: a file, a folder (deep), or - for standard input; repeatable.",
    )(command)


def settings(mesh_config: Path | None, namespace: str, domain: str, variables: tuple[str, ...]) -> "Settings":
    """What the options say beside the manifests."""
    from tidegate.app.offline.world import Settings

    pairs = [text.partition("=") for text in variables]
    for name, equals, _ in pairs:
        if not equals:
            raise click.UsageError(f"--env {name}: must be NAME=VALUE")
    found = {name: value for name, _, value in pairs}
    return Settings(mesh_config=mesh_config, namespace=namespace, domain=domain, variables=found)


def complete_named(*kinds: str) -> Complete:
    """Completes ``NAME.NAMESPACE`` of objects of these kinds in the manifests that were given so far."""

    def complete(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
        from tidegate.app.offline import manifests
        from tidegate.kit.errors import TidegateError

        paths = [path for path in ctx.params.get("paths") or () if path != "-"]
        try:
            found = manifests.load(paths).documents
        except TidegateError:
            return []
        namespace = ctx.params.get("namespace") or "default"
        return sorted(
            {name for each in found for name in _named(each.raw, kinds, namespace) if name.startswith(incomplete)}
        )

    return complete


def _named(raw: Any, kinds: tuple[str, ...], namespace: str) -> Iterator[str]:
    meta = raw.get("metadata") if isinstance(raw, dict) and raw.get("kind") in kinds else None
    if isinstance(meta, dict) and meta.get("name"):
        yield f"{meta['name']}.{meta.get('namespace') or namespace}"


@contextlib.contextmanager
def without_collector() -> Iterator[None]:
    """While a command reads thousands of objects, which hold no cycles: walking them again and again for garbage takes
    half of the time, and the command ends soon."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


@contextlib.contextmanager
def sign_of_life(text: str) -> Iterator[None]:
    """What is being done, on a terminal only: thousands of objects take seconds."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console

    with Console(stderr=True).status(text):
        yield
