"""What a kernel lacks when it refuses a rule: which match or target, its module, and what would work instead."""

import re
from typing import NamedTuple

_LACKING = re.compile(
    r"No chain/target/match by that name|missing kernel module|Couldn't load (?:match|target)"
    r"|No such file or directory|not supported|(?:can't|unable to) initialize|does not exist|incompatible",
    re.IGNORECASE,
)
_NATIVE = "--native-nftables, if the kernel has nf_tables"


class Part(NamedTuple):
    """Something that rules lean on."""

    words: str
    """What tells that a rule uses it, iptables' words or nft's."""
    what: str
    iptables: str
    """Kernel module for iptables."""
    nftables: str
    instead: str
    """What works without it."""


_PARTS = (
    Part(r"TPROXY\b|tproxy ip", "the TPROXY target", "xt_TPROXY", "nft_tproxy", "interception mode REDIRECT"),
    Part(r"-j CT\b|ct zone", "conntrack zones (target CT)", "xt_CT", "nft_ct", "rules without DNS capture"),
    Part(r"-j CONNMARK\b|connmark|ct mark", "connection marks", "xt_connmark", "nft_ct", "interception mode REDIRECT"),
    Part(r"--[ug]id-owner|sk[ug]id", "the owner match", "xt_owner", "nft_meta", _NATIVE),
    Part(r"-m multiport", "the multiport match", "xt_multiport", "nf_tables", _NATIVE),
    Part(r"-m conntrack|ct state", "the conntrack match", "xt_conntrack", "nft_ct", "rules without --drop-invalid"),
    Part(r"REDIRECT\b|redirect to", "the REDIRECT target", "xt_REDIRECT", "nft_redir", _NATIVE),
    Part(r"-j MARK\b|meta mark set", "packet marks", "xt_mark", "nft_meta", "interception mode REDIRECT"),
)
_WHOLE = (
    Part(
        r"cache initialization failed|initialize nft|rule set generation id",
        "nf_tables",
        "nf_tables",
        "nf_tables",
        "iptables-legacy (--force-iptables-binary=legacy)",
    ),
    Part(
        r"\(legacy\).*(?:initialize|table does not exist)",
        "the tables of iptables-legacy",
        "ip_tables",
        "nf_tables",
        "iptables-nft (--force-iptables-binary=nft) or --native-nftables",
    ),
)
"""By what programs say as they start, before they come to a rule."""
_HOOKS = {
    "nat": Part("", "table nat", "iptable_nat", "nft_chain_nat", _NATIVE),
    "mangle": Part("", "table mangle", "iptable_mangle", "nf_tables", "interception mode REDIRECT"),
    "raw": Part("", "table raw", "iptable_raw", "nf_tables", "rules without DNS capture"),
}


def missing_support(said: str, rule: str) -> str:
    """A sentence for what the program said about a rule; empty when it does not speak of a missing feature.

    Without a rule: for what it said as it started.
    """
    whole = next((part for part in _WHOLE if re.search(part.words, said, re.IGNORECASE)), None)
    if whole is not None and not rule:
        return _told(whole, whole.iptables, whole.instead)
    if not _LACKING.search(said):
        return ""
    native = rule.startswith(("add ", "insert "))
    part = _named(rule)
    if part is None:
        return ""
    module = part.nftables if native else part.iptables
    instead = "iptables, without --native-nftables" if native and part.instead == _NATIVE else part.instead
    return _told(part, module, instead)


def _told(part: Part, module: str, instead: str) -> str:
    return f"the kernel seems to lack {part.what}: load module {module} (modprobe {module}); without it, use {instead}"


def _named(rule: str) -> Part | None:
    found = next((part for part in _PARTS if re.search(part.words, rule)), None)
    if found is not None or " -j ISTIO_" in rule:
        return found
    table = re.search(r"^\* ?(\w+)$|type (nat) hook|istio-proxy-(\w+)", rule)
    return _HOOKS.get(next(filter(None, table.groups()))) if table else None
