"""What of an invalid security policy is enforced all the same.

A policy that a store let pass although Istio's rules refuse it must not be left out whole: what it forbids would be
allowed. As with istiod, single rules that cannot be built are skipped and the rest holds: an ALLOW policy without any
rule left allows nothing. What is skipped is told in the object's status.
"""

import re
from collections.abc import Iterable
from typing import Any

from msgspec.structs import replace

from tidegate.api.objects import Object
from tidegate.api.security import AuthorizationPolicy, PeerAuthentication, RequestAuthentication
from tidegate.kit.errors import FieldError

KINDS = frozenset({"AuthorizationPolicy", "PeerAuthentication", "RequestAuthentication"})
_RULE = re.compile(r"spec\.(rules|jwtRules)\[(\d+)\]")


def part(obj: Object[Any], errors: Iterable[FieldError]) -> Object[Any] | None:
    """The object without what is wrong in it; None for a kind of which nothing is kept."""
    if obj.ref.kind not in KINDS:
        return None
    skipped = {int(found[2]) for error in errors if (found := _RULE.match(error.path))}
    return Object(obj.ref, obj.meta, _without(obj.spec, skipped), obj.digest, obj.status)


def _without(spec: Any, skipped: set[int]) -> Any:
    if isinstance(spec, AuthorizationPolicy):
        return replace(spec, rules=_kept(spec.rules, skipped))
    if isinstance(spec, RequestAuthentication):
        return replace(spec, jwt_rules=_kept(spec.jwt_rules, skipped))
    if isinstance(spec, PeerAuthentication):
        chosen = spec.selector is not None and bool(spec.selector.match_labels)
        ports = {p: mode for p, mode in (spec.port_level_mtls or {}).items() if chosen and _is_port(p)}
        return replace(spec, port_level_mtls=ports or None)
    return spec


def _kept(rules: tuple[Any, ...], skipped: set[int]) -> tuple[Any, ...]:
    return tuple(rule for index, rule in enumerate(rules) if index not in skipped)


def _is_port(text: str) -> bool:
    return text.isdecimal() and len(text) <= 5 and 0 < int(text) <= 65535
