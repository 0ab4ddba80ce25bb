"""Rules for PeerAuthentication."""

from tidegate.api.security import PeerAuthentication
from tidegate.api.selection import labels_selected
from tidegate.api.validation.findings import Findings
from tidegate.api.validation.selection import check_workloads


def check_peer_authentication(policy: PeerAuthentication, out: Findings) -> None:
    check_workloads(policy.selector, out)
    ports = policy.port_level_mtls
    if ports is None:
        return
    if not ports:
        out.error("spec.portLevelMtls", "must have at least one port; leave it out instead")
    elif not labels_selected(policy.selector):
        out.error("spec.portLevelMtls", "needs selector.matchLabels: a port's mode is for chosen workloads only")
    for port in ports:
        if not (port.isascii() and port.isdecimal() and 1 <= int(port[:6]) <= 65535):
            out.error("spec.portLevelMtls", "keys must be ports from 1 to 65535", port)
