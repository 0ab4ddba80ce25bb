"""Errors that reach a user.

Every error says which object and field, which value, what was expected and, where there is one, what to do.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FieldError:
    """One thing wrong with one field of one object."""

    path: str
    """Path as ``kubectl`` prints it: ``spec.http[0].timeout``."""
    message: str
    """What was expected, in words that fit after the path."""
    value: object = None
    reason: str = "FieldValueInvalid"
    """Kubernetes cause reason: FieldValueInvalid, FieldValueRequired, FieldValueDuplicate, FieldValueNotSupported."""

    def __str__(self) -> str:
        shown = "" if self.value is None else f" (got {self.value!r})"
        where = f"{self.path}: " if self.path else ""
        return f"{where}{self.message}{shown}"


class TidegateError(Exception):
    """Base of errors whose text is meant for the user as it stands."""


class InvalidObjectError(TidegateError):
    """An object that was refused, with all its field errors at once."""

    def __init__(self, kind: str, namespace: str, name: str, errors: tuple[FieldError, ...]) -> None:
        self.kind, self.namespace, self.name, self.errors = kind, namespace, name, errors
        where = f"{namespace}/{name}" if namespace else name
        super().__init__(f"{kind} {where} is invalid: " + "; ".join(str(e) for e in errors))
