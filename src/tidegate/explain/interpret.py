"""What an Envoy does with a connection: ``interpret`` walks its configuration as Envoy would."""

import re
from collections.abc import Iterator
from itertools import islice

from tidegate.dump.config.parts import Unknown
from tidegate.explain import chains, trees
from tidegate.explain.clusters import Inside, Result
from tidegate.explain.config import DEFAULT_CHAIN, EnvoyConfig, RunningListener, chain_path
from tidegate.explain.connection import Connection
from tidegate.explain.inside import inner_connection
from tidegate.explain.inspect import inspect
from tidegate.explain.listeners import arrival, arrived, handed_over, no_listener, restores_address
from tidegate.explain.network import run_chain
from tidegate.explain.trace import End, Profile, Trace
from tidegate.explain.walk import Notes, Walk

__all__ = ["Profile", "interpret"]

_IDLE = {"no_listener": "Listeners[", "dropped": "Listeners[", "no_cluster": "Clusters["}
"""By what a connection ends for want of, the entries of a dump that tell of such as are not in use."""


def interpret(config: EnvoyConfig, connection: Connection, profile: Profile | None = None) -> Trace:
    """The decisions that Envoy takes about a connection, and how it may end.

    Pure: nothing is connected to. Never raises for what is in the configuration or the connection: what cannot be
    judged is named in ``Trace.unknown``, and the walk goes on as if it let the connection pass.
    """
    profile = profile or Profile()
    notes = Notes()
    walk = Walk(config, connection, profile, notes, connection.ip, connection.port)
    ends = list(islice(_ends(_receive(walk)), max(profile.most_ends, 1)))
    left = 1.0 - sum(each.probability for each in ends)
    if left > 1e-9 and len(ends) >= profile.most_ends:
        ends.append(End("unknown", left, f"more than {profile.most_ends} ends: the rest is not told apart"))
    ends.sort(key=lambda each: -each.probability)  # stable: equal ones stay in the order of the configuration
    return Trace(ends[0].steps, tuple(ends), _unknown(config, notes, ends))


def _unknown(config: EnvoyConfig, notes: Notes, ends: list[End]) -> tuple[Unknown, ...]:
    """What could not be judged on the way: of the input as a whole, and of the resources that were met."""
    met = {f"{step.kind} {step.name}" for end in ends for step in end.steps}
    tables = {step.facts.get("routeConfiguration") for end in ends for step in end.steps}
    met |= {f"RouteConfiguration {name}" for name in tables if name}
    idle = _IDLE.get(ends[0].kind, "")
    for each in config.unknown:
        of_all = each.where == "input" or re.fullmatch(r"configs\[\d+\]", each.where)
        if of_all or each.where.startswith(tuple(met)) or (idle and idle in each.where):
            notes.add(each.where, each.why)
    return tuple(notes.found.values())


def _ends(results: Iterator[Result]) -> Iterator[End]:
    """Ends, those behind listeners inside the proxy included."""
    stack = [results]
    while stack:
        found = next(stack[-1], None)
        if found is None:
            stack.pop()
        elif isinstance(found, End):
            yield found
        else:
            stack.append(_enter(found))


def _enter(inside: Inside) -> Iterator[Result]:
    walk = inner_connection(inside)
    running = walk.config.internal_listener(inside.listener)
    if walk.hops > walk.profile.most_hops:
        yield walk.end("unknown", f"more than {walk.profile.most_hops} listeners inside the proxy, one after the other")
    elif running is None:
        yield walk.end("no_listener", f"the proxy has no internal listener {inside.listener}", response_flags=("UF",))
    else:
        yield from _at(arrived(walk, running, "an endpoint of the cluster is this listener"), running)


def _receive(walk: Walk) -> Iterator[Result]:
    """From the socket that the connection comes to, to its ends."""
    running = arrival(walk)
    if running is None:
        yield no_listener(walk)
        return
    restored = restores_address(running) and walk.connection.direction != "gateway" and walk.connection.captured
    walk = walk.with_(restored=restored)
    target = handed_over(walk, running)
    if target is None:
        why = "receives the connection" + (
            ": no listener has its original address" if running.listener.hands_over else ""
        )
        yield from _at(arrived(walk, running, why), running)
        return
    first = inspect(walk, running)
    if isinstance(first, End):
        yield first
        return
    address = f"{walk.ip}:{walk.port}"
    why = f"{running.listener.name} receives the connection and hands it to the listener for {address}"
    yield from _at(arrived(first, target, why), target)


def _at(walk: Walk, running: RunningListener) -> Iterator[Result]:
    """Listener filters, filter chain, and what the chain does."""
    inspected = inspect(walk, running)
    if isinstance(inspected, End):
        yield inspected
        return
    chosen = _chain(inspected, running)
    if chosen.number is None:
        seen = inspected.step("filter_chain", "FilterChain", why=chosen.why, rejected=chosen.rejected)
        yield seen.end("no_filter_chain", f"{chosen.why}: the connection is closed", response_flags=("NR",))
        return
    chain = running.chain(chosen.number)
    ambiguous = [chain_path(number) for number in chosen.ambiguous]
    if ambiguous:
        same = f"{chain_path(chosen.number)} and {', '.join(ambiguous)} have the same match"
        inspected.unsure(running.where, f"{same}: Envoy refuses such a listener")
    seen = inspected.step(
        "filter_chain",
        "FilterChain",
        chain.name,
        path=chain_path(chosen.number),
        why=chosen.why,
        rejected=chosen.rejected,
        istio=chain.metadata.istio,
        facts={"ambiguous": ambiguous} if ambiguous else {},
    )
    yield from run_chain(seen, running, chosen.number)


def _chain(walk: Walk, running: RunningListener) -> chains.Chosen:
    matcher = running.listener.filter_chain_matcher
    if matcher is None:
        return chains.choose(walk, running)
    name = trees.action(walk, matcher, f"{running.where} filterChainMatcher")
    for number, head in enumerate(running.heads):
        if name is not None and head.name == name:
            return chains.Chosen(number, f"the listener's matcher names {name}", ())
    if running.listener.default_filter_chain is not None:
        return chains.Chosen(DEFAULT_CHAIN, "the listener's matcher names no chain, so the default one", ())
    return chains.Chosen(None, "the listener's matcher names no chain and there is no default one", ())
