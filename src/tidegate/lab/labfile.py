"""Reading ``lab.yaml``."""

from pathlib import Path
from typing import Any

import msgspec
import yaml

from tidegate.kit import boundedyaml
from tidegate.kit.errors import FieldError, InvalidObjectError, TidegateError
from tidegate.lab.checks import problems
from tidegate.lab.spec import LabSpec


def load(file: Path) -> LabSpec:
    """Read and check a lab file. Raises TidegateError (unreadable) or InvalidObjectError (all findings at once)."""
    try:
        raw = boundedyaml.load(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise TidegateError(f"cannot read {file}: {error.strerror}; name a lab file with -f") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise TidegateError(f"{file} is not YAML: {error}") from error
    spec = _typed(raw, file)
    found = problems(spec)
    if found:
        raise InvalidObjectError("Lab", "", spec.name or str(file), found)
    return spec


def _typed(raw: Any, file: Path) -> LabSpec:
    try:
        return msgspec.convert(raw, LabSpec)
    except msgspec.ValidationError as error:
        message, _, path = str(error).rpartition(" - at ")
        where = path.strip("`").removeprefix("$").removeprefix(".") if message else ""
        name = str(raw.get("name", file)) if isinstance(raw, dict) else str(file)
        found = FieldError(where or "(the whole file)", (message or str(error)).replace("Object ", "object "))
        raise InvalidObjectError("Lab", "", name, (found,)) from error
