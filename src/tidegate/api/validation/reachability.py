"""Warnings for rules of a VirtualService that no request can reach (Istio's IST0130 and IST0131)."""

from collections.abc import Sequence
from typing import TypeAlias

import msgspec
from msgspec.structs import replace

from tidegate.api.networking import (
    HTTPMatchRequest,
    L4MatchAttributes,
    TLSMatchAttributes,
    VirtualService,
)
from tidegate.api.validation.findings import Findings

Match: TypeAlias = HTTPMatchRequest | TLSMatchAttributes | L4MatchAttributes
Rule: TypeAlias = tuple[str, Sequence[Match]]
"""Where a rule stands, and its matches."""


def warn_unreachable(service: VirtualService, out: Findings) -> None:
    _warn([(f"spec.http[{i}]", [_unnamed(m) for m in r.match]) for i, r in enumerate(service.http)], out)
    _warn([(f"spec.tls[{i}]", r.match) for i, r in enumerate(service.tls)], out)
    _warn([(f"spec.tcp[{i}]", r.match) for i, r in enumerate(service.tcp)], out)


def _unnamed(match: HTTPMatchRequest) -> HTTPMatchRequest:
    return replace(match, name="") if match.name else match


class _Earlier:
    """Matches so far, by what they are and by their prefix."""

    def __init__(self) -> None:
        self.same: dict[bytes, tuple[str, str]] = {}
        self.prefixes: dict[str, list[tuple[str, str, HTTPMatchRequest]]] = {}

    def taking(self, match: Match) -> tuple[str, str] | None:
        """Where an earlier match stands that takes all that ``match`` would: (rule, match)."""
        found = self.same.get(_ENCODER.encode(match))
        prefix = _prefix(match)
        if found is not None or prefix is None:
            return found
        for end in range(min(len(prefix), _LONGEST) + 1):
            for rule, at, other in self.prefixes.get(prefix[:end], ()):
                if _takes(other, match):
                    return rule, at
        return None

    def add(self, rule: str, at: str, match: Match) -> None:
        self.same.setdefault(_ENCODER.encode(match), (rule, at))
        prefix = _prefix(match)
        if prefix is not None and isinstance(match, HTTPMatchRequest):
            known = self.prefixes.setdefault(prefix, [])
            if len(known) < _ALIKE:
                known.append((rule, at, match))


_ENCODER = msgspec.json.Encoder(order="deterministic")
_LONGEST = 2048
_ALIKE = 32
"""Matches of one prefix that later ones are compared with; the warnings are advice, their cost stays linear."""


def _prefix(match: Match) -> str | None:
    return match.uri.prefix if isinstance(match, HTTPMatchRequest) and match.uri is not None else None


def _warn(rules: Sequence[Rule], out: Findings) -> None:
    everything = ""
    earlier = _Earlier()
    for path, matches in rules:
        if everything:
            out.warn(path, f"is never reached: {everything} has no match and takes everything (IST0130)")
        elif not matches:
            everything = path
        elif _warn_duplicates(path, matches, earlier, out) == len(matches):
            out.warn(path, "is never reached: all its matches are taken by earlier rules (IST0130)")


def _warn_duplicates(path: str, matches: Sequence[Match], earlier: _Earlier, out: Findings) -> int:
    """Warn of each match that an earlier one takes, and count those of earlier rules."""
    taken = 0
    for index, match in enumerate(matches):
        at = f"{path}.match[{index}]"
        found = earlier.taking(match)
        if found is not None:
            out.warn(at, f"is not used: {found[1]} matches the same (IST0131)")
            taken += found[0] != path
        earlier.add(path, at, match)
    return taken


def _takes(first: HTTPMatchRequest, second: Match) -> bool:
    """``first``, whose prefix begins that of ``second``, asks for nothing that ``second`` does not ask for."""
    return first.ignore_uri_case == getattr(second, "ignore_uri_case", None) and all(
        not getattr(first, name) or getattr(first, name) == getattr(second, name) for name in _CONDITIONS
    )


_CONDITIONS = (
    "port", "method", "authority", "scheme", "headers", "without_headers", "query_params", "source_labels",
    "source_namespace", "gateways",
)  # fmt: skip
