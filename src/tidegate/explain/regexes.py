"""Regular expressions as Envoy runs them: RE2, the whole text, bounded time and memory."""

from functools import lru_cache
from typing import Any

import re2

_MOST_PATTERN = 64 * 1024
_MOST_STEPS = 30_000_000
"""Size of the compiled program times length of the text: about a tenth of a second where RE2 has to try all."""


@lru_cache(maxsize=2048)
def _compiled(pattern: str, captures: bool) -> Any | None:
    if len(pattern) > _MOST_PATTERN:
        return None
    options = re2.Options()
    options.log_errors = False
    options.never_capture = not captures
    try:
        return re2.compile(pattern, options)
    except (re2.error, ValueError, TypeError):
        return None


def full_match(pattern: str, text: str) -> bool | None:
    """Whether the whole text matches; None where the pattern is invalid, or takes more than is spent on it here."""
    compiled = _compiled(pattern, captures=False)
    if compiled is None or compiled.programsize * len(text) > _MOST_STEPS:
        return None
    return compiled.fullmatch(_storable(text)) is not None


def replace(pattern: str, substitution: str, text: str) -> str | None:
    """The text with every match replaced, ``\\1`` standing for a group; None as in ``full_match``."""
    compiled = _compiled(pattern, captures=True)
    if compiled is None or compiled.programsize * len(text) * (compiled.groups + 1) > _MOST_STEPS:
        return None
    try:
        return str(compiled.sub(substitution, _storable(text)))
    except (re2.error, IndexError, ValueError):
        return None


def _storable(text: str) -> str:
    """Without lone surrogates, which have no UTF-8 form."""
    return text.encode("utf-8", "replace").decode()
