"""What objects lose to one another at the attached proxies, kept up by the change: what a change costs follows it."""

from collections import Counter, defaultdict
from collections.abc import Iterable

from tidegate.api.objects import Ref
from tidegate.app.discovery.hub import Hub, Shown
from tidegate.envoy.decisions import losses
from tidegate.envoy.outbound import Disputed
from tidegate.envoy.resource import Decision
from tidegate.scope.proxy import ProxyKind

MOST_KINDS = 16
"""Kinds of proxies that are looked at; what objects take from one another seldom differs between more."""

Key = tuple[ProxyKind, Disputed, str] | Shown
"""A place where objects meet at one kind of proxy, or what one proxy takes in."""


class Losses:
    """``note`` after anything happened at the hub, ``work`` whenever there is time."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._due: dict[Key, None] = {}
        self._said: dict[Key, frozenset[tuple[Ref, str]]] = {}
        self._texts: dict[Ref, Counter[str]] = defaultdict(Counter)
        self._kinds: dict[ProxyKind, set[Key]] = {}
        """Those that are looked at, and of what of theirs something is said."""

    @property
    def idle(self) -> bool:
        return not self._due

    def of(self, ref: Ref) -> tuple[str, ...]:
        """What an object loses, and to whom, in words."""
        return tuple(sorted(self._texts.get(ref, ())))

    def note(self) -> set[Ref]:
        """Take up what is new at the hub. Objects of which nothing is said any more, as their proxies have gone."""
        outbounds, told = self._hub.outbounds(), set()
        for kind in [each for each in self._kinds if each not in outbounds]:
            for key in self._kinds.pop(kind):
                told |= self._say(key, frozenset())
            self._due = {k: None for k in self._due if isinstance(k, Shown) or k[0] != kind}
        for kind, outbound in outbounds.items():
            recent: Iterable[tuple[Disputed, str]] = tuple(outbound.recent)
            outbound.recent.clear()
            if kind not in self._kinds:
                if len(self._kinds) >= MOST_KINDS:
                    continue
                self._kinds[kind], recent = set(), outbound.places()
            self._due.update(dict.fromkeys((kind, sort, name) for sort, name in recent))
        self._due.update(dict.fromkeys(self._hub.renewed))
        self._hub.renewed.clear()
        return told

    def work(self, most: int) -> set[Ref]:
        """Look at up to ``most`` places; the objects of which something else is said now."""
        told: set[Ref] = set()
        for key in list(self._due)[:most]:
            del self._due[key]
            told |= self._say(key, frozenset(pair for each in self._decisions(key) for pair in losses(each)))
        return told

    def _decisions(self, key: Key) -> Iterable[Decision]:
        if isinstance(key, Shown):
            if not self._hub.shows(key):
                return ()
            own = (r for of_type in key.inbound.resources.values() for r in of_type.values())
            return (*key.inbound.decisions, *(d for each in own for d in each.all_decisions()))
        kind, sort, name = key
        found = self._hub.outbounds().get(kind)
        return found.disputes(sort, name) if found is not None else ()

    def _say(self, key: Key, new: frozenset[tuple[Ref, str]]) -> set[Ref]:
        old = self._said.pop(key, frozenset())
        if new:
            self._said[key] = new
        if not isinstance(key, Shown) and key[0] in self._kinds:
            (self._kinds[key[0]].add if new else self._kinds[key[0]].discard)(key)
        for ref, text in new - old:
            self._texts[ref][text] += 1
        for ref, text in old - new:
            texts = self._texts[ref]
            texts[text] -= 1
            if not texts[text]:
                del texts[text]
            if not texts:
                del self._texts[ref]
        return {ref for ref, _ in new ^ old}
