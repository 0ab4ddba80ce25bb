"""Where rules put what they find."""

from typing import Any

from tidegate.kit.errors import FieldError


class Findings:
    """Errors (the object is refused) and warnings (it is accepted, and the writer is told), each with its path."""

    __slots__ = ("errors", "warnings")

    def __init__(self) -> None:
        self.errors: list[FieldError] = []
        self.warnings: list[str] = []

    def error(self, path: str, expected: str, value: Any = None) -> None:
        if isinstance(value, str):
            value = value[:120]
        self.errors.append(FieldError(path, expected, value))

    def required(self, path: str, expected: str = "required") -> None:
        self.errors.append(FieldError(path, expected, None, "FieldValueRequired"))

    def duplicate(self, path: str, value: Any, expected: str = "must be unique") -> None:
        self.errors.append(FieldError(path, expected, value, "FieldValueDuplicate"))

    def warn(self, path: str, advice: str) -> None:
        self.warnings.append(f"{path}: {advice}")
