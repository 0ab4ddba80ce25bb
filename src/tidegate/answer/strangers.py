"""The right cluster with endpoints that are somebody else's: taken in by labels, by address, or by another object."""

from collections.abc import Iterable

from tidegate.answer.case import Case, Fault, chosen_endpoints, egress_policy, owner_of, policy_rule, rule_of
from tidegate.api.objects import Ref
from tidegate.kit import hosts, naming
from tidegate.registry.addresses import is_ip
from tidegate.registry.model import Endpoint, Labels, Registry, Service
from tidegate.registry.workloads import CANONICAL_NAME

_APP_LABELS = (CANONICAL_NAME, "app.kubernetes.io/name", "app")
"""Labels that say which application a workload is of, the one that counts first."""


def fault(case: Case, service: Service | None) -> Fault | None:
    """Endpoints among the chosen ones that do not serve what the service stands for."""
    if service is None or case.connection.direction == "inbound":
        return None
    ends = chosen_endpoints(case, service, anywhere=True)
    owner = owner_of(case) or egress_policy(case)
    for found in (
        _added(service, ends),
        _stale(case, service, ends, owner),
        _of_another_app(case, service, ends, owner),
        _of_another_host(case, service, owner),
        _another_member(case, service, owner),
        _outside_subset(case, service),
    ):
        if found is not None:
            return found
    return None


def _added(service: Service, ends: Iterable[Endpoint]) -> Fault | None:
    """A ServiceEntry for the host of a Kubernetes Service adds its endpoints to those of the Service."""
    if service.registry is not Registry.KUBERNETES:
        return None
    for end in ends:
        if end.source is not None and end.source.kind == "ServiceEntry":
            return f"{end.source} adds {end.address} to the endpoints of {service.host}", end.source, "spec.endpoints"
    return None


def _stale(case: Case, service: Service, ends: Iterable[Endpoint], owner: Ref) -> Fault | None:
    """An address that is listed for the service, and that now belongs to a Pod which its selector does not want."""
    if service.registry is not Registry.KUBERNETES or not service.selector:
        return None
    for end in ends:
        having = [case.world.workloads[ref] for ref in case.world.by_address.get(end.address, ())]
        if having and not any(workload.selected_by(service.selector) for workload in having):
            words = f"{end.address} belongs to {having[0].ref}, which the selector of {owner} does not take in"
            return words, owner, "spec.selector"
    return None


def _of_another_app(case: Case, service: Service, ends: Iterable[Endpoint], owner: Ref) -> Fault | None:
    """The selector takes in workloads of several applications, and one of them is what the service is called after;
    or an entry's address is that of another application's Pod."""
    named = {_app(end.labels): end for end in ends if end.source is not None and _app(end.labels)}
    own = service.name if service.registry is Registry.KUBERNETES else service.host.partition(".")[0]
    if own in named and len(named) > 1:
        other = next(end for app, end in named.items() if app != own)
        words = f"takes in {other.source} of application {_app(other.labels)} too: its labels fit the selector"
        return f"{owner} {words}", owner, "spec.selector"
    for end in named.values():
        if end.source is None or end.source.kind != "WorkloadEntry":
            continue
        for ref in case.world.by_address.get(end.address, ()):
            app = _app(case.world.workloads[ref].labels)
            if ref.kind == "Pod" and app and app != _app(end.labels):
                return f"{end.source} has the address of {ref}, of application {app}", end.source, "spec.address"
    return None


def _app(labels: Labels) -> str:
    mine = dict(labels)
    return next((mine[label] for label in _APP_LABELS if mine.get(label)), "")


def _of_another_host(case: Case, service: Service, owner: Ref) -> Fault | None:
    """An entry for several hosts gives all of them the endpoints of one."""
    meant = case.intent.to.lower()
    names = {end.address.rpartition(":")[0].lower() for end in case.end.endpoints}
    if is_ip(meant) or not names or any(is_ip(name.strip("[]")) for name in names):
        return None
    siblings = {s.host.lower() for ref in service.sources[:1] for s in _declared_by(case, ref)} - {service.host.lower()}
    others = sorted(name for name in names if name != meant and name in siblings)
    if not others and service.host.startswith("*") and meant in names:
        others = sorted(name for name in names if name != meant and hosts.covers(service.host, name))
    if not others:
        return None
    return f"{owner} gives {meant} the endpoint {others[0]}, which is that of another host", owner, "spec.endpoints"


def _declared_by(case: Case, ref: Ref) -> Iterable[Service]:
    """The services that one object declares."""
    for key in case.world.services_in(ref.namespace):
        found = case.world.services.get(key)
        if found is not None and ref in found.sources:
            yield found


def _another_member(case: Case, service: Service, owner: Ref) -> Fault | None:
    """The caller dials one member of a headless service, and the proxy chooses another."""
    dialled = case.connection.ip
    if not service.headless or case.end.cluster_type == "ORIGINAL_DST":
        return None
    members = {end.address for end in case.world.endpoints.get(service.key, ())}
    reached = {end.address for end in chosen_endpoints(case, service)}
    if dialled not in members or not reached or reached <= {dialled}:
        return None
    words = f"the proxy chooses among the members of {service.host}, whichever of them the caller dials"
    return words, rule_of(case) or owner, ""


def _outside_subset(case: Case, service: Service) -> Fault | None:
    """A subset of a service whose dialled address is kept: its labels choose nothing."""
    parsed, ref = naming.parse_cluster(case.end.cluster), policy_rule(case)
    rule = case.world.destination_rules.get(ref) if ref is not None else None
    if parsed is None or not parsed.subset or rule is None or case.end.cluster_type != "ORIGINAL_DST":
        return None
    wanted = next((s.labels for s in rule.spec.subsets if s.name == parsed.subset), {})
    member = next(iter(chosen_endpoints(case, service)), None)
    if member is None or wanted.items() <= dict(member.labels).items():
        return None
    words = f"the dialled {member.address} is kept, and has not the labels of subset {parsed.subset}"
    return words, rule.ref, "spec.subsets"
