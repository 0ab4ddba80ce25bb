"""Warnings for rules of a VirtualService that no request can reach (Istio's IST0130 and IST0131)."""

from collections.abc import Sequence
from typing import TypeAlias

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


def _warn(rules: Sequence[Rule], out: Findings) -> None:
    everything = ""
    earlier: list[tuple[str, Match]] = []
    for path, matches in rules:
        if everything:
            out.warn(path, f"is never reached: {everything} has no match and takes everything (IST0130)")
            continue
        if not matches:
            everything = path
            continue
        if _warn_duplicates(path, matches, earlier, out) == len(matches):
            out.warn(path, "is never reached: all its matches are taken by earlier rules (IST0130)")


def _warn_duplicates(path: str, matches: Sequence[Match], earlier: list[tuple[str, Match]], out: Findings) -> int:
    """Warn of each match that an earlier one takes, and count those of earlier rules."""
    taken = 0
    before = len(earlier)
    for index, match in enumerate(matches):
        at = f"{path}.match[{index}]"
        for place, (other_at, other) in enumerate(earlier):
            if _takes(other, match):
                out.warn(at, f"is not used: {other_at} matches the same (IST0131)")
                taken += place < before
                break
        earlier.append((at, match))
    return taken


def _takes(first: Match, second: Match) -> bool:
    if first == second:
        return True
    if not isinstance(first, HTTPMatchRequest) or not isinstance(second, HTTPMatchRequest):
        return False
    if first.uri is None or second.uri is None or first.uri.prefix is None or second.uri.prefix is None:
        return False
    if not second.uri.prefix.startswith(first.uri.prefix) or first.ignore_uri_case != second.ignore_uri_case:
        return False
    return all(
        not getattr(first, name) or getattr(first, name) == getattr(second, name)
        for name in (
            "port", "method", "authority", "scheme", "headers", "without_headers", "query_params", "source_labels",
            "source_namespace", "gateways",
        )
    )  # fmt: skip
