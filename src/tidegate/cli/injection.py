"""Options that the commands of injection share, and the settings that they make."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from tidegate.inject.settings import Json, Settings

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
        default=True,
        show_default=True,
        show_envvar=True,
        help="Sidecars as init containers that go on, which Kubernetes 1.33 and newer have.",
    ),
    click.option(
        "--platform", type=click.Choice(["", "openshift"]), default="", envvar="PLATFORM", help="Of the cluster."
    ),
)


def made_settings(
    values_files: tuple[Path, ...],
    assignments: tuple[str, ...],
    mesh_config: Path | None,
    revision: str,
    native: bool,
    platform: str,
) -> "Settings":
    """The settings that the options say. Raises TidegateError for what cannot be read."""
    from tidegate.inject.settings import from_installation, merged, parse_set, settings

    values: Json = {}
    for file in values_files:
        values = merged(values, from_installation(_document(file), str(file)))
    given = parse_set(assignments)
    values = merged(values, given.get("values") or {k: v for k, v in given.items() if k != "components"})
    values = merged(values, {"revision": revision} if revision and revision != "default" else {})
    return settings(values, _mesh(mesh_config) if mesh_config else {}, native=native, platform=platform)


def _document(file: Path) -> Any:
    from tidegate.api.yamltext import YamlError, read_yaml
    from tidegate.kit.errors import TidegateError

    try:
        return read_yaml(file.read_text())
    except (YamlError, OSError, ValueError) as error:
        raise TidegateError(f"{file}: {error}") from error


def _mesh(file: Path) -> "Json":
    """The mesh configuration, checked. Raises InvalidObjectError."""
    from tidegate.api import meshconfig
    from tidegate.api.yamltext import read_yaml
    from tidegate.kit.errors import TidegateError

    found = _document(file)
    if isinstance(found, dict) and found.get("kind") == "ConfigMap":
        data = found.get("data")
        text = data.get(meshconfig.KEY) if isinstance(data, dict) else None
        if not isinstance(text, str):
            raise TidegateError(f"{file}: data.{meshconfig.KEY}: expected the text of a MeshConfig")
        meshconfig.parse(text)
        found = read_yaml(text)
    else:
        meshconfig.parse(file.read_text())
    return dict(found or {})
