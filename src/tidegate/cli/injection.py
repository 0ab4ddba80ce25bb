"""Options that the commands of injection share."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from tidegate.app.injection import Sources

F = TypeVar("F", bound=Callable[..., Any])
FILE = click.Path(path_type=Path, exists=True, dir_okay=False)


def settings_options(command: F) -> F:
    """--values, --set, --mesh-config, --revision and the switch for native sidecars."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


_OPTIONS: tuple[Callable[[Any], Any], ...] = (
    click.option(
        "--valuesFile",
        "--values",
        "values_files",
        multiple=True,
        type=FILE,
        help="Values of the installation: a Helm values file or an IstioOperator, as YAML or JSON; repeatable.",
    ),
    click.option(
        "--set",
        "assignments",
        multiple=True,
        metavar="NAME=VALUE",
        help="One value, as global.proxy.logLevel=info; repeatable.",
    ),
    click.option(
        "--meshConfigFile",
        "--mesh-config",
        "mesh_config",
        type=FILE,
        help="File with the MeshConfig, or its ConfigMap.",
    ),
    click.option("--revision", "-r", default="", help="Revision of the control plane that the sidecars belong to."),
    click.option(
        "--native-sidecars/--no-native-sidecars",
        "native",
        envvar="ENABLE_NATIVE_SIDECARS",
        default=None,
        show_envvar=True,
        help="Sidecars as init containers that go on, which Kubernetes 1.33 and newer have; unless the cluster's "
        "kubelets are known, they are taken to be so new.",
    ),
    click.option(
        "--platform", type=click.Choice(["", "openshift"]), default="", envvar="PLATFORM", help="Of the cluster."
    ),
)


def sources(
    values_files: tuple[Path, ...],
    assignments: tuple[str, ...],
    mesh_config: Path | None,
    revision: str,
    native: bool | None,
    platform: str,
) -> "Sources":
    """What the options of :func:`settings_options` name."""
    from tidegate.app.injection import Sources

    return Sources(
        values=values_files,
        assignments=assignments,
        mesh=mesh_config,
        revision=revision,
        native=native is not False,
        platform=platform,
    )


def mesh_text(file: Path) -> str:
    """The text of the MeshConfig in a file, checked. Raises TidegateError."""
    from tidegate.app import injection

    return injection.mesh_text(file)
