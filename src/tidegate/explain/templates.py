"""URI templates of routes (envoy.path.match.uri_template): ``/api/{version}/*`` and ``/files/**``."""

import re
from functools import lru_cache

from tidegate.explain.regexes import full_match

_VARIABLE = re.compile(r"\{(?P<name>\w+)(?:=(?P<pattern>[^{}]*))?\}")
_LITERAL = re.compile(r"[A-Za-z0-9\-._~%!$&'()+,;:@=/]")


def template_match(template: str, path: str) -> bool | None:
    """Whether the path fits; None for a template that Envoy would refuse."""
    pattern = _as_regex(template)
    return None if pattern is None else full_match(pattern, path)


@lru_cache(maxsize=1024)
def _as_regex(template: str) -> str | None:
    out, end = [], 0
    for found in _VARIABLE.finditer(template):
        out.append(_plain(template[end : found.start()]))
        inner = _plain(found["pattern"]) if found["pattern"] is not None else "[^/]+"
        out.append(f"({inner})" if inner is not None else None)
        end = found.end()
    out.append(_plain(template[end:]))
    known = [each for each in out if each is not None]
    return "".join(known) if len(known) == len(out) and template.startswith("/") else None


def _plain(text: str) -> str | None:
    """``*`` stands for one segment, ``**`` for any rest."""
    out = []
    for part in re.split(r"(\*\*|\*)", text):
        if part in ("*", "**"):
            out.append("[^/]+" if part == "*" else ".*")
        elif all(_LITERAL.match(each) for each in part):
            out.append(re.escape(part))
        else:
            return None
    return "".join(out)
