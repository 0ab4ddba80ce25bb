"""Sidecar resources: which one holds for a workload, and what its egress listeners import."""

from collections.abc import Iterable

import msgspec

from tidegate.api.networking import CaptureMode, Sidecar
from tidegate.api.objects import Object
from tidegate.kit import hosts
from tidegate.registry import protocols
from tidegate.registry.model import Labels, Protocol


class Import(msgspec.Struct, frozen=True):
    """One ``namespace/dnsName`` of egress.hosts, "." resolved. namespace "*" is any; ``exclude`` for a leading ~."""

    namespace: str
    host: str
    exclude: bool = False

    def covers(self, namespace: str, host: str) -> bool:
        return self.namespace in ("*", namespace) and (self.host == "*" or hosts.covers(self.host, host))

    def touches(self, namespace: str, host: str) -> bool:
        """For VirtualServices: either side's wildcard may match the other."""
        return self.namespace in ("*", namespace) and hosts.matches(self.host, host)


class EgressListener(msgspec.Struct, frozen=True):
    """One egress listener. ``port`` None: the catch-all for every port of what it imports."""

    imports: tuple[Import, ...]
    port: int | None = None
    protocol: Protocol = Protocol.AUTO
    bind: str = ""
    capture: bool = True
    """False for captureMode NONE: the port is really bound."""
    index: int = 0
    """Position in spec.egress, for origins."""

    @property
    def routes(self) -> bool:
        """Whether what comes to its own port may be HTTP."""
        return self.protocol.is_http or self.protocol is Protocol.AUTO

    @property
    def routes_all_ports(self) -> bool:
        """Its route configuration serves every port of what it imports: a unix socket's, an HTTP proxy's."""
        return self.port == 0 or (self.port is not None and self.protocol is Protocol.HTTP_PROXY)

    def imported(self, namespace: str, host: str) -> bool:
        return _decide(self.imports, namespace, host)

    def imports_virtual_service(self, namespace: str, vs_hosts: tuple[str, ...]) -> bool:
        """Whether some host of a VirtualService meets what is imported and is not wholly excluded."""
        left = [host for host in vs_hosts if not any(i.exclude and i.covers(namespace, host) for i in self.imports)]
        return any(not i.exclude and i.touches(namespace, host) for i in self.imports for host in left)


DEFAULT_EGRESS = (EgressListener(imports=(Import("*", "*"),)),)
"""Without a Sidecar resource everything that is visible is imported."""


def _decide(imports: tuple[Import, ...], namespace: str, host: str) -> bool:
    if any(i.exclude and i.covers(namespace, host) for i in imports):
        return False
    return any(not i.exclude and i.covers(namespace, host) for i in imports)


def parse_import(text: str, own_namespace: str) -> Import:
    """Read ``ns/host``, ``./host``, ``*/host``, ``~/host`` or ``~ns/host``."""
    namespace, _, host = text.partition("/")
    exclude = namespace.startswith("~")
    if exclude:
        namespace = namespace[1:] or "*"
    return Import(own_namespace if namespace == "." else namespace, host, exclude)


def egress_listeners(sidecar: Object[Sidecar] | None, namespace: str) -> tuple[EgressListener, ...]:
    """The egress listeners that a proxy of ``namespace`` has, ports with a number first, the catch-all last."""
    if sidecar is None or not sidecar.spec.egress:
        return DEFAULT_EGRESS
    found = []
    for index, spec in enumerate(sidecar.spec.egress):
        port = spec.port
        found.append(
            EgressListener(
                imports=tuple(parse_import(h, namespace) for h in spec.hosts),
                port=port.number if port else None,
                protocol=protocols.from_word(port.protocol) if port else Protocol.AUTO,
                bind=spec.bind,
                capture=spec.capture_mode is not CaptureMode.NONE,
                index=index,
            )
        )
    return tuple(sorted(found, key=lambda e: e.port is None))


def choose_sidecar(
    own: Iterable[Object[Sidecar]], root: Iterable[Object[Sidecar]], labels: Labels
) -> Object[Sidecar] | None:
    """The Sidecar that holds for a workload: the first of its namespace with a matching selector, else the first
    there without a selector, else the first of the root namespace without one. Both are given oldest first."""
    mine = dict(labels)
    plain = []
    for sidecar in own:
        selector = _selector(sidecar)
        if not selector:
            plain.append(sidecar)
        elif all(mine.get(k) == v for k, v in selector.items()):
            return sidecar
    return next((s for s in (*plain, *root) if not _selector(s)), None)


def _selector(sidecar: Object[Sidecar]) -> dict[str, str]:
    selector = sidecar.spec.workload_selector
    return selector.labels if selector is not None else {}
