"""Which object holds for a host as one kind of proxy sees it: the service, its DestinationRule, its VirtualServices."""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

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


def selects(rule: Object[DestinationRule], kind: ProxyKind) -> bool:
    """Whether a rule's workloadSelector, where it has one, takes in the client."""
    selector = _selector(rule)
    if not selector:
        return True
    mine = dict(kind.labels)
    return rule.ref.namespace == kind.namespace and all(mine.get(k) == v for k, v in selector.items())


def selects_by_label(rule: Object[DestinationRule], namespace: str, labels: Labels) -> bool:
    """Whether the rule's workloadSelector is there and chooses a workload with all of these labels."""
    selector, mine = _selector(rule), dict(labels)
    return bool(selector) and rule.ref.namespace == namespace and all(mine.get(k) == v for k, v in selector.items())


def sees_destination_rule(world: World, kind: ProxyKind, rule: Object[DestinationRule], labels: Labels) -> bool:
    """Whether the rule may hold for the proxy at all."""
    if _selector(rule):
        return selects_by_label(rule, kind.namespace, labels)
    default = world.mesh.default_destination_rule_export_to
    return rule.ref.namespace == kind.namespace or _exported(rule, default, kind.namespace)


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

    Of a namespace the rules for the most specific host alone count: of several those first whose workloadSelector
    takes in the client, then those without one. Where none of them is left, neither a less specific host nor the next
    namespace stands in. A client of the root namespace begins with the rules there that are exported to nobody else.
    ``selectors`` False leaves out rules with a workloadSelector, which hold for outbound traffic only.
    """
    for candidates in rule_candidates(world, kind, host, service_namespace):
        if candidates:
            return next((r for r in candidates if (selects(r, kind) if selectors else not _selector(r))), None)
    return None


def rule_candidates(
    world: World, kind: ProxyKind, host: str, service_namespace: str
) -> Iterator[tuple[Object[DestinationRule], ...]]:
    """The rules that may hold for a host, namespace by namespace in the order of their look-up; the first that has any
    decides."""
    default = world.mesh.default_destination_rule_export_to
    root = world.mesh.root_namespace
    own = kind.namespace
    if own == root:
        yield _nearest(r for r in world.destination_rules_for(own, host) if _private(r, default))
    else:
        yield _nearest(world.destination_rules_for(own, host))
    for namespace in dict.fromkeys(filter(None, (service_namespace, root))):
        public = _nearest(r for r in world.destination_rules_for(namespace, host) if not _private(r, default))
        yield tuple(r for r in public if _exported(r, default, own))


def _nearest(rules: Iterable[Object[DestinationRule]]) -> tuple[Object[DestinationRule], ...]:
    """Those for the most specific host, with which the rules begin."""
    found = tuple(rules)
    return tuple(r for r in found if r.spec.host.lower() == found[0].spec.host.lower())


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


def http_rule(
    rules: Sequence[Object[VirtualService]], host: str, routes_it: Callable[[Object[VirtualService]], bool]
) -> Object[VirtualService] | None:
    """The VirtualService that routes HTTP to a registered host, of ``rules`` in their order.

    ``routes_it``: whether any of its routes holds for the client and the port. Of rules that name the host exactly
    the next takes the place of one that has none. A wildcard host stands in for the exact one only where there is no
    rule that names it, and of wildcards the longest alone counts, with its oldest rule.
    """
    exact = [r for r in rules if any(pattern.lower() == host.lower() for pattern in r.spec.hosts)]
    return next((r for r in exact or rules[:1] if routes_it(r)), None)


def covers_host(rule: Object[VirtualService], host: str) -> bool:
    """Whether the rule speaks for ``host`` as a whole: names it, or has a wildcard that takes it in."""
    return any(hosts.covers(pattern, host) for pattern in rule.spec.hosts)
