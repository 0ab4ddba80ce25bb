"""Host names and wildcards, as Istio's API uses them.

A wildcard host is ``*`` or starts with ``*.`` (or, leniently, ``*suffix``). Comparison ignores letter case.
"""


def is_wildcard(host: str) -> bool:
    return host.startswith("*")


def matches(first: str, second: str) -> bool:
    """True when the two hosts, either of which may be a wildcard, have a name in common: Istio's Name.Matches."""
    first, second = first.lower(), second.lower()
    if is_wildcard(first):
        if is_wildcard(second):
            return first[1:].endswith(second[1:]) or second[1:].endswith(first[1:])
        return second.endswith(first[1:])
    return first.endswith(second[1:]) if is_wildcard(second) else first == second


def covers(pattern: str, host: str) -> bool:
    """True when every name of ``host`` is one of ``pattern``: Istio's Name.SubsetOf, arguments swapped."""
    pattern, host = pattern.lower(), host.lower()
    if not is_wildcard(pattern):
        return pattern == host
    return host.lstrip("*").endswith(pattern[1:]) if is_wildcard(host) else host.endswith(pattern[1:])


def specificity(host: str) -> tuple[int, int]:
    """Sort key, most specific first: exact hosts, then wildcards by falling length."""
    return (1 if is_wildcard(host) else 0, -len(host))


def resolve_short(host: str, namespace: str, domain: str) -> str:
    """Full name of a host written in a VirtualService or DestinationRule of ``namespace``.

    A name without dots is a Service of that namespace; names with a dot, wildcards and addresses stay.
    """
    if "." in host or is_wildcard(host) or ":" in host or not host:
        return host
    return f"{host}.{namespace}.svc.{domain}"
