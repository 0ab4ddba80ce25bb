"""Rules for names, addresses, ports and times that every kind shares."""

import ipaddress
import re
from collections.abc import Iterable, Mapping, Sequence

import re2

from tidegate.api.metadata import is_label_value, is_qualified_name
from tidegate.api.networking import StringMatch
from tidegate.api.validation.findings import Findings
from tidegate.kit import addresses
from tidegate.kit.durations import MILLISECOND, Duration
from tidegate.kit.hosts import is_wildcard

_LABEL = re.compile(r"[a-zA-Z0-9]([-a-zA-Z0-9]{0,61}[a-zA-Z0-9])?")
_WILD_LABEL = re.compile(r"\*|(\*|\*-)?[a-zA-Z0-9]([-a-zA-Z0-9]*[a-zA-Z0-9])?")
_PREFIX_LENGTH = re.compile(r"0|[1-9][0-9]{0,2}")
_REGEX_LIMIT = 1024
_LABEL_VALUE_LIMIT = 63

PROTOCOLS = frozenset(
    ("tcp", "udp", "grpc", "grpc-web", "http", "http_proxy", "http2", "https", "tls", "mongo", "redis", "mysql")
)
HTTP_PROTOCOLS = frozenset(("http", "http2", "http_proxy", "grpc", "grpc-web"))
TLS_PROTOCOLS = frozenset(("https", "tls"))
TCP_PROTOCOLS = TLS_PROTOCOLS | {"tcp", "mongo", "redis", "mysql"}
"""Protocols that are connections to Envoy, whose requests it does not route."""


def is_label(text: str) -> bool:
    """DNS-1123 label as Istio reads it: letter case is free."""
    return bool(_LABEL.fullmatch(text))


def is_ip(text: str) -> bool:
    """An IP address; like Go's netip, a zone is allowed for IPv6."""
    return addresses.is_ip(text)


def is_subnet(text: str) -> bool:
    """An IP address or a CIDR."""
    address, slash, bits = text.partition("/")
    if not slash:
        return is_ip(text)
    if not is_ip(address) or "%" in address or not _PREFIX_LENGTH.fullmatch(bits):
        return False
    return int(bits) <= ipaddress.ip_address(address).max_prefixlen


def fqdn_problem(text: str) -> str | None:
    """What keeps ``text`` from being a DNS name; None when it is one."""
    if not 1 <= len(text) <= 255:
        return "must be a DNS name of 1 to 255 characters"
    labels = text.removesuffix(".").split(".")
    for label in labels:
        if not is_label(label):
            return f"must be a DNS name (label {label[:63]!r} is not valid)"
    last = text.rpartition(".")[2]
    return "must be a DNS name (the last label must not be a number)" if last.isdecimal() else None


def wildcard_problem(text: str) -> str | None:
    """What keeps ``text`` from being a DNS name whose first label may begin with ``*``."""
    if not 1 <= len(text) <= 255:
        return "must be a DNS name, or one that begins with *, of 1 to 255 characters"
    first, _, rest = text.partition(".")
    if len(first) > 63 or not _WILD_LABEL.fullmatch(first):
        return f"must be a DNS name whose first label may be a wildcard (label {first[:63]!r} is not valid)"
    return fqdn_problem(rest) if rest else None


def is_partial_wildcard(text: str) -> bool:
    """``*foo``: Envoy and Istio match whole labels only."""
    return text.startswith("*") and text != "*" and not text.startswith("*.")


class HostIndex:
    """Hosts, wildcards among them, and which of them covers another; lookups do not walk the list."""

    def __init__(self, hosts: Sequence[str]) -> None:
        self._exact = {host.lower(): index for index, host in reversed([*enumerate(hosts)])}
        self._wild = {host[1:].lower(): i for i, host in reversed([*enumerate(hosts)]) if is_wildcard(host)}

    def covering(self, host: str, *, besides: int = -1) -> int | None:
        """Index of a host that covers ``host``, other than the one at ``besides``."""
        lower = host.lower()[:256]
        first = self._exact.get(lower, besides)
        if first != besides:
            return first
        body = lower[1:] if is_wildcard(lower) else lower
        for start in range(len(body) + 1):
            found = self._wild.get(body[start:], besides)
            if found != besides:
                return found
        return None


def check_fqdn(path: str, text: str, out: Findings) -> None:
    if problem := fqdn_problem(text):
        out.error(path, problem, text)


def check_wildcard(path: str, text: str, out: Findings) -> None:
    if problem := wildcard_problem(text):
        out.error(path, problem, text)


def check_ip(path: str, text: str, out: Findings) -> None:
    if not is_ip(text):
        out.error(path, "must be an IP address", text)


def check_subnet(path: str, text: str, out: Findings) -> None:
    if not is_subnet(text):
        out.error(path, "must be an IP address or a CIDR such as 10.0.0.0/8", text)


def check_label(path: str, text: str, out: Findings) -> None:
    if not is_label(text):
        out.error(path, "must be a DNS-1123 label (letters, digits and '-', at most 63)", text)


def check_port(path: str, number: int, out: Findings) -> None:
    if not 1 <= number <= 65535:
        out.error(path, "must be a port from 1 to 65535", number)


def check_port_name(path: str, text: str, out: Findings) -> None:
    check_label(path, text, out)


def check_protocol(path: str, text: str, out: Findings) -> None:
    if text and text.lower() not in PROTOCOLS:
        out.error(path, f"must be one of {', '.join(sorted(p.upper() for p in PROTOCOLS))}", text)


def check_duration(path: str, value: Duration | None, out: Findings) -> None:
    """At least one millisecond, in whole milliseconds; unset passes."""
    if value is None:
        return
    if value < MILLISECOND:
        out.error(path, "must be a duration of at least 1ms", str(value))
    elif value % MILLISECOND:
        out.error(path, "must be a duration in whole milliseconds", str(value))


def check_percent(path: str, value: float, out: Findings) -> None:
    check_share(path, value, out)
    if 0 < value < 0.0001:
        out.error(path, "must be 0 or at least 0.0001", value)


def check_share(path: str, value: float, out: Findings) -> None:
    """A percentage however small."""
    if not 0 <= value <= 100:
        out.error(path, "must be a percentage from 0 to 100", value)


def check_labels(path: str, labels: Mapping[str, str], out: Findings) -> None:
    for key, value in labels.items():
        if not is_qualified_name(key):
            out.error(path, "keys must be label names: [prefix/]name", key)
        if not is_label_value(value):
            out.error(f"{path}[{key[:120]}]", "must be a label value", value)


def check_selector(path: str, labels: Mapping[str, str], out: Findings) -> None:
    """A workload selector's labels: no wildcards, and better not empty."""
    if not labels:
        out.warn(path, "selects every workload of the namespace, since it has no labels")
    for key, value in labels.items():
        if not key:
            out.error(path, "keys must not be empty")
        if "*" in key:
            out.error(path, "keys must not contain *", key)
        if "*" in value:
            out.error(f"{path}[{key[:120]}]", "must not contain *", value)
        if len(value) > _LABEL_VALUE_LIMIT:
            expected = f"must be at most {_LABEL_VALUE_LIMIT} characters long, as no label has a longer value"
            out.error(f"{path}[{key[:120]}]", expected, value)


def check_unix(path: str, address: str, out: Findings) -> None:
    """``unix://`` and an absolute path of a file, or ``@`` and an abstract name."""
    target = address.removeprefix("unix://")
    if not target or (target[0] != "@" and (target[0] != "/" or target.endswith("/"))):
        out.error(path, "must be unix:// and the absolute path of a socket, or unix://@ and an abstract name", address)


def check_regex(path: str, text: str, out: Findings, *, limit: int | None = _REGEX_LIMIT) -> None:
    if not text:
        out.error(path, "must not be empty")
    elif limit is not None and len(text) > limit:
        out.error(path, f"must be at most {limit} characters long", len(text))
    elif problem := regex_problem(text):
        out.error(path, f"must be an RE2 expression: {problem}", text)


def regex_problem(text: str) -> str | None:
    """RE2's complaint, the same that Envoy would have."""
    options = re2.Options()
    options.log_errors = False
    try:
        re2.compile(text, options=options)
    except re2.error as error:
        detail = error.args[0] if error.args else ""
        return detail.decode(errors="replace") if isinstance(detail, bytes) else str(detail)
    return None


def check_string_match(path: str, match: StringMatch, out: Findings, *, empty_prefix: bool = False) -> None:
    if match.prefix == "" and not empty_prefix:
        out.error(f"{path}.prefix", "must not be empty; leave the match empty to accept any value")
    if match.regex is not None:
        check_regex(f"{path}.regex", match.regex, out)


def check_export_to(
    values: Iterable[str], namespace: str, out: Findings, *, nobody: bool = False, selector: bool = False
) -> None:
    """exportTo: ``.``, ``*``, namespaces, and ``~`` where ``nobody``; ``selector``: the own namespace alone."""
    path, seen, listed = "spec.exportTo", set(), tuple(values)
    for index, value in enumerate(listed):
        at = f"{path}[{index}]"
        if value == "~" and not nobody:
            out.error(at, "~ (visible nowhere) is for ServiceEntries only", value)
        elif value not in (".", "*", "~") and not is_label(value):
            out.error(at, "must be a namespace, . (this one), or * (all)", value)
        actual = namespace if value == "." else value
        if actual in seen:
            out.duplicate(at, value, "the namespace is listed already")
        seen.add(actual)
        if selector and value != "." and value != namespace:
            out.error(at, "a rule with workloadSelector may be visible in its own namespace only: .", value)
    for alone in ("*", "~"):
        if alone in seen and len(listed) > 1:
            out.error(path, f"{alone} must stand alone")
