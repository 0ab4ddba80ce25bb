"""What is wrong with manifests: each error and warning with its file and line, object, field and value."""

import enum
import re
from typing import Any

import msgspec

from tidegate.api.unacted import MARK
from tidegate.app.offline.manifests import Document, Place
from tidegate.kit.errors import FieldError

_UNKNOWN = re.compile(r'^unknown field "(?P<path>[^"]+)"')
_PATH = re.compile(r"^(?P<path>[A-Za-z][\w-]*(?:[.\[][^\s:]*)?): (?P<rest>.+)", re.DOTALL)


class Severity(enum.StrEnum):
    ERROR = "error"
    WARNING = "warning"
    INFO = "info"
    """Nothing is wrong as far as anybody looked: a kind that is not judged."""
    LIMIT = "limit"
    """Nothing is wrong with what is written: a field that Istio acts on and tidegate's own mesh does not yet."""


class Finding(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One sentence about one field of one object."""

    severity: Severity
    file: str
    line: int
    object: str = ""
    """``Kind/namespace/name``; "" for what is no object."""
    field: str = ""
    value: Any = None
    message: str

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}: {self.severity.value}: "
        what = f"{self.object}: " if self.object else ""
        field = f"{self.field}: " if self.field else ""
        got = "" if self.value is None else f" (got {self.value!r})"
        return f"{where}{what}{field}{self.message}{got}"


def refusal(document: Document, name: str, error: FieldError) -> Finding:
    """An error of admission; the same words as a server's."""
    at = document.place(error.path)
    return Finding(
        severity=Severity.ERROR,
        file=at.file,
        line=at.line,
        object=name,
        field=error.path,
        value=_plain(error.value),
        message=error.message,
    )


def advice(document: Document, name: str, text: str) -> Finding:
    """A warning of admission, or a limit, whose sentence begins with its path."""
    path, rest = _split(text)
    severity = Severity.LIMIT if MARK in rest else Severity.WARNING
    return _told(severity, document.place(path), name, path, rest)


def for_want_of_certificates(found: Finding) -> bool:
    """Whether it is a limit that does not hold where workloads have certificates."""
    return found.severity is Severity.LIMIT and "certificates" in found.message


def warning(place: Place, name: str, field: str, text: str) -> Finding:
    """A warning about a field of an object."""
    return _told(Severity.WARNING, place, name, field, text)


def note(severity: Severity, place: Place, name: str, text: str) -> Finding:
    """A sentence about an object as a whole, or about what is no object."""
    return _told(severity, place, name, "", text)


def _told(severity: Severity, at: Place, name: str, path: str, text: str) -> Finding:
    return Finding(severity=severity, file=at.file, line=at.line, object=name, field=path, message=text)


def _split(text: str) -> tuple[str, str]:
    unknown = _UNKNOWN.match(text)
    if unknown:
        return unknown["path"], "unknown field"
    found = _PATH.match(text)
    return (found["path"], found["rest"]) if found else ("", text)


def _plain(value: object) -> Any:
    return value if isinstance(value, str | int | float | bool | list | dict | None) else str(value)
