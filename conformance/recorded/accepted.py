"""Differences from istiod's output that are meant, each with its name and reason."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from conformance.recorded.compare import ABSENT, Difference


@dataclass(frozen=True)
class Accepted:
    name: str
    reason: str
    resource: str
    """Pattern that the resource's whole name matches."""
    path: str
    """Pattern that is found in the difference's path."""
    general: bool = True
    """False: it is no difference in general, but what one recording shows by the order in which it was made."""
    values: tuple[Any, ...] = ()
    """The only values that may differ, where not any may."""
    mixed: bool = False
    """It is accepted only where proxies of one scenario are to tell servers the attempt, and others not to."""

    def covers(self, difference: Difference, *, mixed: bool = False) -> bool:
        if self.mixed and not mixed:
            return False
        if self.values and not all(each in self.values for each in (difference.expected, difference.actual)):
            return False
        return bool(re.fullmatch(self.resource, difference.name) and re.search(self.path, difference.path))


ACCEPTED = (
    Accepted(
        "inbound-http-inspector-ports",
        "the HTTP inspector is kept off TCP ports only: excluding HTTP ports too would replace virtualInbound, and "
        "cut every connection on it, whenever an HTTP port comes or goes",
        "virtualInbound",
        r"^listener_filters\[\d+\]\.filter_disabled",
    ),
    Accepted(
        "tracing-tags",
        "tags that differ between proxies of one kind, or that only Istio's authorization writes, are left out",
        ".*",
        r"\.tracing\.custom_tags",
    ),
    Accepted(
        "passthrough-stat-prefix",
        "istiod fills the inbound stat pattern with nothing for connections that belong to no service (`in__0`)",
        "virtualInbound",
        r"^filter_chains\[(?!.*destination_port).*\]\.filters\[\d+\]\.typed_config\.stat_prefix$",
    ),
    Accepted(
        "attempt-count-of-another-proxy",
        "istiod's route cache does not tell proxies with different proxyHeaders apart: the first that asks decides for "
        "all whether servers are told the attempt",
        r"\d+",
        r"^virtual_hosts\[\d+\]\.include_request_attempt_count$",
        general=False,
        values=(True, ABSENT),
        mixed=True,
    ),
    Accepted(
        "empty-http2-options",
        "an empty http2_protocol_options in a connection manager that detects the codec changes nothing",
        ".*",
        r"filters\[\d+\]\.typed_config\.http2_protocol_options$",
    ),
)


def reason(difference: Difference, *, mixed: bool = False) -> Accepted | None:
    """The entry that accepts a difference. mixed: of a scenario with both sorts of ``Accepted.mixed``."""
    return next((entry for entry in ACCEPTED if entry.covers(difference, mixed=mixed)), None)


def unaccepted(differences: Iterable[Difference], *, mixed: bool = False) -> list[Difference]:
    return [each for each in differences if reason(each, mixed=mixed) is None]


def special(differences: Iterable[Difference], *, mixed: bool = False) -> list[Difference]:
    """Those that no general entry accepts."""
    found = ((each, reason(each, mixed=mixed)) for each in differences)
    return [each for each, entry in found if entry is None or not entry.general]


__all__ = ["ABSENT", "ACCEPTED", "Accepted", "reason", "special", "unaccepted"]
