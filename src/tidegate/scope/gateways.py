"""Gateways: which hold for a proxy, which VirtualServices are bound to them, and which hosts the two have in common."""

from collections.abc import Iterable, Iterator

from tidegate.api.networking import Gateway, ServerTLSSettingsMode, VirtualService
from tidegate.api.objects import Object
from tidegate.kit import hosts
from tidegate.registry.model import Labels, ServiceTarget
from tidegate.scope.visibility import visible
from tidegate.snapshot.world import World

SERVICES = "internal.istio.io/gateway-service"
"""Annotation of a Gateway that controllers make of another API's: it holds for the workloads of these Services."""


def selected(world: World, labels: Labels, targets: tuple[ServiceTarget, ...]) -> tuple[Object[Gateway], ...]:
    """The Gateways of any namespace that select a workload with these labels, or one of the Services that it serves,
    oldest first.

    https://istio.io/latest/docs/reference/config/networking/gateway/#Gateway-selector
    """
    mine = dict(labels)
    found = [
        each
        for of_namespace in world.policies("Gateway").values()
        for each in of_namespace
        if _selects(each, mine, targets)
    ]
    return tuple(sorted(found, key=lambda each: each.age_key))


def _selects(gateway: Object[Gateway], labels: dict[str, str], targets: tuple[ServiceTarget, ...]) -> bool:
    named = services_of(gateway)
    if named:
        return any(t.service.host in named and t.service.namespace == gateway.ref.namespace for t in targets)
    return all(labels.get(key) == value for key, value in gateway.spec.selector.items())


def services_of(gateway: Object[Gateway]) -> frozenset[str]:
    """Hosts of the Services by which alone a Gateway selects; none for one that selects by labels."""
    text = gateway.meta.annotations.get(SERVICES, "")
    return frozenset(host for host in text.split(",") if host)


def qualified(gateway: Object[Gateway]) -> str:
    """``namespace/name``, as resolved VirtualServices name it."""
    return f"{gateway.ref.namespace}/{gateway.ref.name}"


def passes_unopened(gateways: Iterable[Object[Gateway]]) -> bool:
    """Whether one of them has a server that passes the mesh's mutual TLS on by its server name."""
    modes = (server.tls.mode for gateway in gateways for server in gateway.spec.servers if server.tls is not None)
    return ServerTLSSettingsMode.AUTO_PASSTHROUGH in modes


def bound(world: World, namespace: str, gateway: str) -> tuple[Object[VirtualService], ...]:
    """The VirtualServices that a proxy of ``namespace`` sees of those bound to a Gateway: what is exported to its
    namespace alone comes before what all see, each oldest first."""
    default = world.mesh.default_virtual_service_export_to

    def rank(rule: Object[VirtualService]) -> int:
        scopes = rule.spec.export_to or default
        return 2 if "*" in scopes else 0 if "." in scopes else 1

    found = [
        rule
        for rule in world.virtual_services_bound_to(gateway)
        if visible(rule.spec.export_to or None, default, rule.ref.namespace, namespace)
    ]
    return tuple(sorted(found, key=rank))


def server_hosts(entries: Iterable[str], gateway_namespace: str, rule_namespace: str) -> Iterator[str]:
    """The hosts of a server (``[namespace/]host``) that rules of a namespace may serve."""
    for entry in entries:
        namespace, slash, host = entry.rpartition("/")
        wanted = gateway_namespace if namespace == "." else namespace
        if not slash or wanted in ("*", rule_namespace):
            yield host


def common_hosts(served: Iterable[str], ruled: tuple[str, ...]) -> tuple[str, ...]:
    """The hosts that a server and a VirtualService share: of two that meet the narrower one; lower case, each once."""
    found: dict[str, None] = {}
    for host in served:
        for other in ruled:
            if hosts.covers(other, host):
                found[host.lower()] = None
            elif hosts.covers(host, other):
                found[other.lower()] = None
    return tuple(found)
