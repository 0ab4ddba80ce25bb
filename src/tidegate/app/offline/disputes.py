"""What objects take from one another, as the proxies of a world see it: who loses a port, a name, a rule."""

from collections.abc import Iterable, Iterator

from tidegate.api.objects import Ref
from tidegate.app.offline import findings, proxyspec
from tidegate.app.offline.compile import compile_proxy
from tidegate.app.offline.findings import Finding, Severity
from tidegate.app.offline.proxyspec import ProxySpec
from tidegate.app.offline.world import Offline
from tidegate.envoy.decisions import losses
from tidegate.envoy.resource import Decision

MOST_NAMESPACES = 8
"""Looked at from; what objects take from one another seldom differs between more."""
_MOST_VIEWERS = 4 * MOST_NAMESPACES


def disputes(offline: Offline) -> Iterator[Finding]:
    """A warning for each object that lost something to another, and for each EnvoyFilter that does nothing."""
    told: dict[tuple[Ref, str], None] = {}
    for decision in _decisions(offline):
        told.update(dict.fromkeys(losses(decision)))
    yield from _warnings(offline, told)
    yield from idle(offline)


def _decisions(offline: Offline) -> Iterator[Decision]:
    """What is decided for the workloads that are looked at; what holds for a kind of proxy is worked out once."""
    compiled = [compile_proxy(offline, spec) for spec in _viewers(offline)]
    for kind in dict.fromkeys(each.proxy.kind for each in compiled):
        yield from offline.hub.decisions(kind)
    for each in compiled:
        yield from each.own_decisions()


def idle(offline: Offline) -> Iterator[Finding]:
    """A warning for each EnvoyFilter that does nothing at the proxies which were compiled so far."""
    told = ((ref, text) for ref, texts in offline.hub.problems().items() for text in texts)
    return _warnings(offline, told)


def _warnings(offline: Offline, told: Iterable[tuple[Ref, str]]) -> Iterator[Finding]:
    for ref, text in sorted(set(told)):
        document = offline.documents.get(ref)
        if document is not None:
            yield findings.note(Severity.WARNING, document.place("metadata.name"), str(ref), text)


def _viewers(offline: Offline) -> Iterable[ProxySpec]:
    """One workload of each namespace and set of labels; without any workload, an assumed one."""
    chosen: dict[object, ProxySpec] = {}
    for workload in proxyspec.candidates(offline.hub.world):
        if len(chosen) >= _MOST_VIEWERS or len({spec.namespace for spec in chosen.values()}) >= MOST_NAMESPACES:
            break
        chosen.setdefault((workload.namespace, workload.labels), proxyspec.of_workload(workload, offline.hub.world))
    return list(chosen.values()) or [ProxySpec(name="any")]
