"""Which filter chain of a listener takes a connection.

The order is that of Envoy's FilterChainMatch documentation: destination port, destination address, server name,
transport protocol, application protocols, directly connected source address, source type, source address, source port.
Each criterion keeps the chains that match it best, and chains that do not ask for it only where none matches; there is
no way back to a chain that an earlier criterion left behind.
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple

from tidegate.dump.config.listener import ChainHead, FilterChainMatch
from tidegate.dump.model import CidrRange
from tidegate.explain.config import DEFAULT_CHAIN, RunningListener
from tidegate.explain.matchers import as_ip, in_range
from tidegate.explain.trace import Rejection
from tidegate.explain.walk import Walk

Rank = tuple[int, int] | None
"""How well a chain fits a criterion: None not at all, (0, 0) without asking for it, else the higher the better."""
_INDIFFERENT = (0, 0)


class Chosen(NamedTuple):
    number: int | None
    """Position of the chain, DEFAULT_CHAIN, or None: no chain takes the connection."""
    why: str
    rejected: tuple[Rejection, ...]
    ambiguous: tuple[int, ...] = ()
    """Other chains with the same match: Envoy refuses such a listener."""


class _Criterion(NamedTuple):
    name: str
    asked: str
    rank: Callable[[FilterChainMatch], Rank]


def choose(walk: Walk, running: RunningListener) -> Chosen:
    """The filter chain for a connection whose first bytes were inspected."""
    left = list(enumerate(running.heads))
    rejected: list[Rejection] = []
    decided = []
    for criterion in _criteria(walk):
        kept = _best(left, criterion, rejected)
        if len(kept) < len(left) and kept and criterion.rank(kept[0][1].filter_chain_match) != _INDIFFERENT:
            decided.append(f"{criterion.name} {criterion.asked}")
        left = kept
    if left:
        same = tuple(number for number, _ in left[1:])
        return Chosen(left[0][0], _why(decided or _asked(walk, left[0][1])), walk.nearest(rejected), same)
    if running.listener.default_filter_chain is not None:
        return Chosen(DEFAULT_CHAIN, "no filter chain matches, so the default one", walk.nearest(rejected))
    return Chosen(None, "no filter chain matches and there is no default one", walk.nearest(rejected))


def _asked(walk: Walk, head: ChainHead) -> list[str]:
    """What a chain asks for, that had no rival."""
    match = head.filter_chain_match
    return [f"{each.name} {each.asked}" for each in _criteria(walk) if each.rank(match) != _INDIFFERENT]


def _why(matched: list[str]) -> str:
    return f"matches {', '.join(matched)}" if matched else "the filter chain that asks for nothing"


def _best(
    left: list[tuple[int, ChainHead]], criterion: _Criterion, rejected: list[Rejection]
) -> list[tuple[int, ChainHead]]:
    ranked = [(criterion.rank(head.filter_chain_match), number, head) for number, head in left]
    best = max((rank for rank, _, _ in ranked if rank is not None), default=None)
    for rank, number, head in ranked:
        if rank is None or rank != best:
            reason = (
                f"asks for another {criterion.name}" if rank is None else f"another fits its {criterion.name} better"
            )
            what = f"filterChains[{number}]" + (f" {head.name}" if head.name else "")
            rejected.append(Rejection(what, f"{reason} ({criterion.name} is {criterion.asked})"))
    return [(number, head) for rank, number, head in ranked if rank is not None and rank == best]


def _criteria(walk: Walk) -> Iterable[_Criterion]:
    source = walk.connection.source_ip
    transport = walk.transport or "raw_buffer"
    yield _Criterion("destination port", str(walk.port), lambda m: _exactly(m.destination_port, walk.port))
    yield _Criterion("destination address", walk.ip, lambda m: _longest(m.prefix_ranges, walk.ip))
    yield _Criterion("server name", walk.sni or "(none)", lambda m: _server_name(m.server_names, walk.sni))
    yield _Criterion("transport protocol", transport, lambda m: _exactly(m.transport_protocol or None, transport))
    shown = ", ".join(walk.alpn) or "(none)"
    yield _Criterion("application protocol", shown, lambda m: _protocol(m.application_protocols, walk.alpn))
    told = source or "(not known)"
    yield _Criterion("direct source address", told, lambda m: _longest(m.direct_source_prefix_ranges, source))
    yield _Criterion("source type", told, lambda m: _source_type(m.source_type, walk))
    yield _Criterion("source address", told, lambda m: _longest(m.source_prefix_ranges, source))
    yield _Criterion("source port", str(walk.connection.source_port), lambda m: _port(m.source_ports, walk))


def _exactly(wanted: int | str | None, found: int | str) -> Rank:
    if wanted is None:
        return _INDIFFERENT
    return (1, 0) if wanted == found else None


def _longest(ranges: tuple[CidrRange, ...], address: str) -> Rank:
    if not ranges:
        return _INDIFFERENT
    lengths = [each.prefix_len for each in ranges if in_range(each, address)]
    return (1, max(lengths)) if lengths else None


def _server_name(names: tuple[str, ...], sni: str) -> Rank:
    """Exact before wildcards, longer wildcards before shorter ones; ``*`` asks for nothing."""
    wanted = [name for name in names if name and name != "*"]
    if not wanted:
        return _INDIFFERENT
    ranks = [rank for name in wanted if (rank := _name_rank(name, sni)) is not None]
    return max(ranks, default=None)


def _name_rank(name: str, sni: str) -> tuple[int, int] | None:
    if name == sni:
        return (2, 0)
    if name.startswith("*.") and sni.endswith(name[1:]) and len(sni) >= len(name):
        return (1, len(name))
    return None


def _protocol(wanted: tuple[str, ...], offered: tuple[str, ...]) -> Rank:
    """The first protocol of the client's list that any chain asks for decides."""
    if not wanted:
        return _INDIFFERENT
    places = [place for place, each in enumerate(offered) if each in wanted]
    return (1, -places[0]) if places else None


def _source_type(wanted: str, walk: Walk) -> Rank:
    if wanted not in ("SAME_IP_OR_LOOPBACK", "EXTERNAL"):
        return _INDIFFERENT
    source = as_ip(walk.connection.source_ip)
    if source is None:
        return None
    local = source.is_loopback or source == as_ip(walk.ip)
    return (1, 0) if local == (wanted == "SAME_IP_OR_LOOPBACK") else None


def _port(wanted: tuple[int, ...], walk: Walk) -> Rank:
    if not wanted:
        return _INDIFFERENT
    return (1, 0) if walk.connection.source_port in wanted else None
