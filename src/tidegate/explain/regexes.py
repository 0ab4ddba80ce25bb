"""Regular expressions as Envoy runs them: RE2, the whole text, bounded memory."""

from functools import lru_cache
from typing import Any

import re2

_MOST_TEXT = 64 * 1024
"""Longer than any header or path that Envoy takes by default (60 KiB of headers)."""
_MOST_PATTERN = 64 * 1024


@lru_cache(maxsize=2048)
def _compiled(pattern: str) -> Any | None:
    if len(pattern) > _MOST_PATTERN:
        return None
    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(pattern, options)
    except (re2.error, ValueError, TypeError):
        return None


def full_match(pattern: str, text: str) -> bool | None:
    """Whether the whole text matches; None where the pattern is invalid, or larger than Envoy takes."""
    compiled = _compiled(pattern)
    if compiled is None or len(text) > _MOST_TEXT:
        return None
    return compiled.fullmatch(_storable(text)) is not None


def replace(pattern: str, substitution: str, text: str) -> str | None:
    """The text with every match replaced, ``\\1`` standing for a group; None as in ``full_match``."""
    compiled = _compiled(pattern)
    if compiled is None or len(text) > _MOST_TEXT:
        return None
    try:
        return str(compiled.sub(substitution, _storable(text)))
    except (re2.error, IndexError, ValueError):
        return None


def _storable(text: str) -> str:
    """Without lone surrogates, which have no UTF-8 form."""
    return text.encode("utf-8", "replace").decode()
