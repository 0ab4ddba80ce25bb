"""Services, ServiceEntries and DestinationRules that work otherwise than they read."""

from collections.abc import Iterator, Mapping

from tidegate.answer.pods import PodFacts, pod_facts
from tidegate.api.networking import ClientTLSSettingsMode, DestinationRule, PortTrafficPolicy, TrafficPolicy
from tidegate.api.objects import Object, Ref
from tidegate.app.diagnosis.advice import in_subset
from tidegate.app.offline.pitfalls.looking import Pitfall, declared, kind, rule_for
from tidegate.app.offline.world import MESH, Offline
from tidegate.kit import peers
from tidegate.registry.model import Port, Protocol, Registry, Resolution, Service
from tidegate.scope import choice
from tidegate.snapshot.world import World

_HTTPS = 443
_KNOWS_PEERS = f"ISTIO_META_{peers.ASKS}"


def judge(offline: Offline) -> Iterator[Pitfall]:
    world = offline.hub.world
    facts = pod_facts((ref, document.raw) for ref, document in offline.documents.items())
    for service, ref in declared(world):
        if service.registry is Registry.KUBERNETES:
            yield from _closed(world, facts, service, ref)
            continue
        yield from _nobody(world, service, ref)
        for port in service.ports:
            yield from _entry_port(world, service, ref, port)
    for rule in world.destination_rules.values():
        yield from _empty_subsets(world, rule)
        yield from _idle_priorities(rule)
        if offline.place(MESH) is not None:
            yield from _idle_zones(world, rule)


def _closed(world: World, facts: Mapping[Ref, PodFacts], service: Service, ref: Ref) -> Iterator[Pitfall]:
    """A targetPort that no container of the Service's Pods declares, where all of them declare ports."""
    for number, port in enumerate(service.ports):
        ends = [end for end in world.endpoints.get(service.key, ()) if end.port_name == port.name]
        known = [facts[end.source].ports if end.source in facts else frozenset() for end in ends if end.source]
        pairs = zip(ends, known, strict=False)
        if not ends or len(known) < len(ends) or any(not ports or end.port in ports for end, ports in pairs):
            continue
        listed = ", ".join(map(str, sorted(known[0])))
        text = f"no container of {ends[0].source} declares port {ends[0].port}: they declare {listed}"
        yield ref, f"spec.ports[{number}].targetPort", text


def _nobody(world: World, service: Service, ref: Ref) -> Iterator[Pitfall]:
    if service.resolution is Resolution.CLIENT_SIDE and not service.selector and not world.endpoints.get(service.key):
        yield ref, "spec.endpoints", f"{service.host} has resolution STATIC and no endpoints: requests get 503, flag UH"


def _entry_port(world: World, service: Service, ref: Ref, port: Port) -> Iterator[Pitfall]:
    """A port whose protocol and number do not go together, as long as no DestinationRule begins TLS for it."""
    plain = port.protocol.is_http
    if plain and _HTTPS in (port.number, _target(world, service, port)) and not _begins_tls(world, service, port):
        target = "" if port.number == _HTTPS else f", which leads to {_HTTPS},"
        text = f"port {port.number}{target} is declared {port.protocol}: clients' TLS is not matched by it, and plain "
        yield ref, "spec.ports", f"{text}requests go on as plain text unless a DestinationRule sets tls for them"
    if port.protocol in (Protocol.TCP, Protocol.MYSQL, Protocol.MONGO, Protocol.REDIS) and _everywhere(service, port):
        text = f"port {port.number} is {port.protocol} and there are no addresses: it takes every connection to port "
        yield ref, "spec.addresses", f"{text}{port.number}, wherever it goes, that nothing narrower claims"


def _target(world: World, service: Service, port: Port) -> int:
    """The port that the endpoints serve it at; 0 where they differ or nobody knows."""
    found = {end.port for end in world.endpoints.get(service.key, ()) if end.port_name == port.name}
    return found.pop() if len(found) == 1 else port.target_port


def _everywhere(service: Service, port: Port) -> bool:
    return all(not part.addresses and not part.auto_addresses for part in service.parts_of(port.number))


def _begins_tls(world: World, service: Service, port: Port) -> bool:
    rule = rule_for(world, service.namespace, service)
    policy = rule.spec.traffic_policy if rule is not None else None
    if rule is None or policy is None:
        return rule is not None and any(each.traffic_policy is not None for each in rule.spec.subsets)
    own = (each.tls for each in policy.port_level_settings if each.port is None or each.port.number == port.number)
    modes = [tls.mode for tls in (policy.tls, *own) if tls is not None]
    return any(mode is not ClientTLSSettingsMode.DISABLE for mode in modes)


def _empty_subsets(world: World, rule: Object[DestinationRule]) -> Iterator[Pitfall]:
    """Subsets that choose nobody, of a service that has endpoints."""
    for service in choice.service_candidates(world, kind(world, rule.ref.namespace), rule.spec.host)[:1]:
        ends = world.endpoints.get(service.key, ())
        for number, subset in enumerate(rule.spec.subsets):
            if ends and service.resolution is Resolution.CLIENT_SIDE and not in_subset(subset, ends):
                asked = ", ".join(f"{key}={value}" for key, value in subset.labels.items())
                text = f"no endpoint of {service.host} has {asked}: requests to subset {subset.name} get 503, flag UH"
                yield rule.ref, f"spec.subsets[{number}].labels", text


def _idle_priorities(rule: Object[DestinationRule]) -> Iterator[Pitfall]:
    """failoverPriority beside distribute, which decides alone."""
    subsets = ((f"spec.subsets[{n}].trafficPolicy", each.traffic_policy) for n, each in enumerate(rule.spec.subsets))
    for field, policy in (("spec.trafficPolicy", rule.spec.traffic_policy), *subsets):
        balancer = policy.load_balancer if policy is not None else None
        setting = balancer.locality_lb_setting if balancer is not None else None
        if setting is not None and setting.distribute and setting.failover_priority:
            at = f"{field}.loadBalancer.localityLbSetting.failoverPriority"
            yield rule.ref, at, "does nothing beside distribute, by which every locality has its share"


def _idle_zones(world: World, rule: Object[DestinationRule]) -> Iterator[Pitfall]:
    """Zones of which proxies know nothing, by the defaults of a mesh that is among the manifests."""
    mesh = world.mesh.default_config
    told = mesh.proxy_metadata if mesh is not None else {}
    if peers.asked_for({peers.ASKS: told.get(_KNOWS_PEERS, "")}):
        return
    for field, policy in _policies(rule):
        setting = policy.load_balancer.zone_aware_lb_setting if policy.load_balancer is not None else None
        if setting is not None and setting.enabled is not False:
            text = f"regions are ranked, and zones count in proxies with {_KNOWS_PEERS}=true alone: set it in "
            yield rule.ref, f"{field}.loadBalancer.zoneAwareLbSetting", text + "the mesh's defaultConfig.proxyMetadata"


def _policies(rule: Object[DestinationRule]) -> Iterator[tuple[str, TrafficPolicy | PortTrafficPolicy]]:
    """Every traffic policy of a rule, by its field."""
    subsets = ((f"spec.subsets[{n}].trafficPolicy", each.traffic_policy) for n, each in enumerate(rule.spec.subsets))
    for field, policy in (("spec.trafficPolicy", rule.spec.traffic_policy), *subsets):
        if policy is not None:
            yield field, policy
            for number, level in enumerate(policy.port_level_settings):
                yield f"{field}.portLevelSettings[{number}]", level
