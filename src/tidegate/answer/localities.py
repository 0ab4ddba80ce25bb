"""Whom weights and priorities by locality leave out."""

from collections.abc import Iterable

from tidegate.answer.case import LOCALITY, Case, Fault, policy_rule, service_of
from tidegate.api.networking import LocalityLoadBalancerSetting
from tidegate.api.objects import Ref
from tidegate.kit import naming
from tidegate.registry.model import Endpoint, Service
from tidegate.scope import choice


def distributor(case: Case) -> Ref | None:
    """The rule whose subset, or whose locality weights, leave no endpoint, where the service has some."""
    service, rule = service_of(case), policy_rule(case)
    if service is None or not case.world.endpoints.get(service.key):
        return None
    parsed = naming.parse_cluster(case.end.cluster)
    if rule is not None and (case.end.endpoints or (parsed is not None and parsed.subset)):
        return rule
    setting, deciding = _setting(case, service)
    return deciding if setting is not None and setting.distribute else None


def fault(case: Case, service: Service | None) -> Fault | None:
    """Failover that is asked for and cannot happen: nothing ever calls an endpoint unhealthy, or weights by locality
    leave the others out for good."""
    setting, deciding = _setting(case, service) if service is not None else (None, LOCALITY)
    if service is None or setting is None or setting.enabled is False:
        return None
    rule = choice.destination_rule(case.world, case.proxy.kind, service)
    policy = rule.spec.traffic_policy if rule is not None else None
    every = case.world.endpoints.get(service.key, ())
    if len({end.locality for end in every}) < 2:
        return None
    detects = policy is not None and policy.outlier_detection is not None
    if setting.distribute and detects and len(case.end.endpoints) < len(_of_port(case, every)):
        words = "endpoints elsewhere are never used: distribute leaves them out, and there is no failover with it"
        return words, deciding, ""
    if not detects and (setting.failover or setting.failover_priority):
        return "endpoints elsewhere are never used in its stead: failover needs outlierDetection", deciding, ""
    return None


def _setting(case: Case, service: Service) -> tuple[LocalityLoadBalancerSetting | None, Ref]:
    """What says how a service's endpoints are weighted by locality: its DestinationRule before the mesh."""
    rule = choice.destination_rule(case.world, case.proxy.kind, service)
    policy = rule.spec.traffic_policy if rule is not None else None
    own = policy.load_balancer.locality_lb_setting if policy is not None and policy.load_balancer is not None else None
    return (own, rule.ref) if own is not None and rule is not None else (case.world.mesh.locality_lb_setting, LOCALITY)


def _of_port(case: Case, ends: Iterable[Endpoint]) -> list[Endpoint]:
    """Endpoints of the port that the chosen ones serve."""
    names = {end.port_name for end in ends if f"{end.address}:{end.port}" in {e.address for e in case.end.endpoints}}
    return [end for end in ends if end.port_name in names]
