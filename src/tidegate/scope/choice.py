"""Which object holds for a host as one kind of proxy sees it: the service, its DestinationRule, its VirtualServices."""

from collections.abc import Callable, Collection

from tidegate.api.networking import DestinationRule, Sidecar, VirtualService
from tidegate.api.objects import Object
from tidegate.kit import hosts
from tidegate.registry.model import Labels, Registry, Service
from tidegate.scope.egress import EgressListener, choose_sidecar
from tidegate.scope.proxy import ProxyKind
from tidegate.scope.visibility import visible
from tidegate.snapshot.world import World


def sidecar(world: World, namespace: str, labels: Labels) -> Object[Sidecar] | None:
    """The Sidecar that holds for a workload of ``namespace`` with these labels."""
    root = world.mesh.root_namespace
    return choose_sidecar(world.sidecars_of(namespace), world.sidecars_of(root), labels)


def service_candidates(world: World, kind: ProxyKind, host: str) -> tuple[Service, ...]:
    """Definitions of ``host`` that the proxy's namespace may see, the preferred one first.

    Istio's order: the proxy's own namespace, then Kubernetes Services, then the oldest.
    """
    default = world.mesh.default_service_export_to
    found = [
        world.services[key]
        for key in world.by_host.get(host.lower(), ())
        if visible(world.services[key].export_to, default, key.namespace, kind.namespace)
    ]
    if len(found) > 1:
        found.sort(key=lambda s: (s.namespace != kind.namespace, s.registry is not Registry.KUBERNETES))
    return tuple(found)


def imported_service(
    world: World, kind: ProxyKind, listener: EgressListener, host: str
) -> tuple[Service, tuple[Service, ...]] | None:
    """The definition of ``host`` that an egress listener imports, and those that lost to it. None: not imported."""
    found = [s for s in service_candidates(world, kind, host) if listener.imported(s.namespace, s.host)]
    return (found[0], tuple(found[1:])) if found else None


def _exported(rule: Object[DestinationRule], default: Collection[str], viewer: str) -> bool:
    return visible(rule.spec.export_to or None, default, rule.ref.namespace, viewer)


def _private(rule: Object[DestinationRule], default: Collection[str]) -> bool:
    """Exported to the rule's own namespace alone, as every rule with a workloadSelector is."""
    scopes = set(rule.spec.export_to or default)
    return bool(_selector(rule)) or (bool(scopes) and scopes <= {".", rule.ref.namespace})


def _selector(rule: Object[DestinationRule]) -> dict[str, str]:
    selector = rule.spec.workload_selector
    return selector.match_labels if selector is not None else {}


def _selects(rule: Object[DestinationRule], kind: ProxyKind) -> bool:
    selector = _selector(rule)
    if not selector:
        return True
    mine = dict(kind.labels)
    return rule.ref.namespace == kind.namespace and all(mine.get(k) == v for k, v in selector.items())


def destination_rule(
    world: World, kind: ProxyKind, service: Service, *, selectors: bool = True
) -> Object[DestinationRule] | None:
    """As :func:`destination_rule_for`, for a service."""
    return destination_rule_for(world, kind, service.host, service.namespace, selectors=selectors)


def destination_rule_for(
    world: World, kind: ProxyKind, host: str, service_namespace: str, *, selectors: bool = True
) -> Object[DestinationRule] | None:
    """The DestinationRule that holds for a host: the client's namespace's, else the service's namespace's, else the
    root namespace's (the latter two only where exported to the client).

    A client of the root namespace begins with the rules there that are exported to nobody else.
    ``selectors`` False leaves out rules with a workloadSelector, which hold for outbound traffic only.
    """
    default = world.mesh.default_destination_rule_export_to
    root = world.mesh.root_namespace

    def first(namespace: str, holds: Callable[[Object[DestinationRule]], bool]) -> Object[DestinationRule] | None:
        for rule in world.destination_rules_for(namespace, host):
            if holds(rule) and (_selects(rule, kind) if selectors else not _selector(rule)):
                return rule
        return None

    def exported(rule: Object[DestinationRule]) -> bool:
        return _exported(rule, default, kind.namespace)

    own = first(kind.namespace, lambda rule: kind.namespace != root or _private(rule, default))
    if own is None and service_namespace:
        own = first(service_namespace, exported)
    return own or first(root, exported)


def mesh_bound(rule: Object[VirtualService]) -> bool:
    return not rule.spec.gateways or "mesh" in rule.spec.gateways


def sees_virtual_service(world: World, kind: ProxyKind, rule: Object[VirtualService]) -> bool:
    """Bound to the mesh and exported to the proxy's namespace."""
    default = world.mesh.default_virtual_service_export_to
    return mesh_bound(rule) and visible(rule.spec.export_to or None, default, rule.ref.namespace, kind.namespace)


def virtual_services(
    world: World, kind: ProxyKind, listener: EgressListener, host: str
) -> tuple[Object[VirtualService], ...]:
    """VirtualServices that an egress listener imports for ``host``, the one that holds first.

    The order is that of the world: the most specific host first, then the oldest.
    """
    return tuple(
        rule
        for rule in world.virtual_services_for(host)
        if covers_host(rule, host)
        and sees_virtual_service(world, kind, rule)
        and listener.imports_virtual_service(rule.ref.namespace, rule.spec.hosts)
    )


def covers_host(rule: Object[VirtualService], host: str) -> bool:
    """Whether the rule speaks for ``host`` as a whole: names it, or has a wildcard that takes it in."""
    return any(hosts.covers(pattern, host) for pattern in rule.spec.hosts)
