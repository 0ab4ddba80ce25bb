"""The step of the service registry: namespaces, nodes, workloads, services and their endpoints."""

from collections.abc import Iterable, Iterator
from typing import Any

from msgspec.structs import replace

from tidegate.api.core import EndpointsBody, EndpointSliceBody
from tidegate.api.meshselectors import visibility_mistakes
from tidegate.api.networking import WorkloadEntry
from tidegate.api.objects import Object, Ref
from tidegate.registry import kubernetes, serviceentry, topology, visibility, workloads
from tidegate.registry.addresses import is_ip
from tidegate.registry.model import Endpoint, Labels, Registry, Resolution, Service, ServiceKey, Workload, labels_of
from tidegate.registry.traffic import TRAFFIC_DISTRIBUTION
from tidegate.snapshot.record import Pair
from tidegate.snapshot.tables import Tables, assign, move
from tidegate.snapshot.targets import selected_by

Old = Object[Any] | None

_STAYS = "the serviceEntryVisibility before stays in force"


class ServiceStep:
    """``take_*`` note what an object's change may concern; ``settle`` derives that again and keeps what differs."""

    def __init__(self, tables: Tables) -> None:
        self.tables = tables
        self.dirty_workloads: set[Ref] = set()
        self.dirty_services: set[ServiceKey] = set()
        self.dirty_endpoints: set[ServiceKey] = set()
        self.changed_workloads: set[Ref] = set()
        self.changed_services: set[ServiceKey] = set()
        self.changed_endpoints: set[ServiceKey] = set()
        self.changed_namespaces: set[str] = set()

    # What came, changed or went.

    def take_namespace(self, ref: Ref, old: Old, new: Old) -> None:
        labels = labels_of(new.meta.labels) if new else None
        if labels != self.tables.namespaces.get(ref.name):
            assign(self.tables.namespaces, ref.name, labels)
            self.changed_namespaces.add(ref.name)
            if self.tables.base.service_entry_visibility is not None:
                self.dirty_services.update(self.tables.in_namespace.get(ref.name, ()))
        before, after = (o.meta.annotations.get(TRAFFIC_DISTRIBUTION) if o else None for o in (old, new))
        if before != after:
            self.dirty_services.update(self.tables.in_namespace.get(ref.name, ()))

    def take_node(self, ref: Ref, old: Old, new: Old) -> None:
        before, after = (topology.of_node(o.meta.labels) if o else "" for o in (old, new))
        if before != after:
            self.dirty_workloads.update(self.tables.on_node.get(ref.name, ()))

    def take_pod(self, ref: Ref, old: Old, new: Old) -> None:
        move(self.tables.on_node, ref, _node(old), _node(new))
        self.dirty_workloads.add(ref)

    def take_workload_entry(self, ref: Ref, old: Old, new: Old) -> None:
        self.dirty_workloads.add(ref)

    def take_service(self, ref: Ref, old: Old, new: Old) -> None:
        self.dirty_services.add(kubernetes.service_key(ref, self.tables.domain))

    def take_slice(self, ref: Ref, old: Old, new: Old) -> None:
        """An EndpointSlice, or Endpoints."""
        names = [_service_of(o) for o in (old, new) if o]
        for at in {n for n in names if n[1]}:
            refs = {*self.tables.slices.get(at, ())} - {ref}
            if new and _service_of(new) == at:
                refs.add(ref)
            assign(self.tables.slices, at, tuple(sorted(refs)) or None)
            self.dirty_endpoints.add(kubernetes.service_key(Ref("Service", *at), self.tables.domain))
        move(self.tables.pod_slices, ref, _listed(old), _listed(new))

    def take_service_entry(self, ref: Ref, old: Old, new: Old) -> None:
        before, after = ({ServiceKey(ref.namespace, h) for h in o.spec.hosts} if o else set() for o in (old, new))
        for key in before | after:
            refs = {*self.tables.entries.get(key, ())} - {ref} | ({ref} if key in after else set())
            ordered = sorted(refs, key=lambda r: self.tables.objects[r].age_key)
            assign(self.tables.entries, key, tuple(ordered) or None)
        self.dirty_services |= before | after

    def take_visibility(self, mesh: Ref) -> None:
        """A serviceEntryVisibility that cannot be read changes nothing: the one before it stays."""
        tables, before = self.tables, self.tables.base
        asked = tables.mesh.service_entry_visibility
        wrong = [(mesh, f"data.mesh.{path}: {text}; {_STAYS}") for path, text in visibility_mistakes(tables.mesh)]
        tables.note(("visibility", mesh), wrong)
        if not wrong:
            tables.service_entry_visibility = asked
        default = tables.mesh.default_service_export_to != before.mesh.default_service_export_to
        if before.service_entry_visibility != tables.service_entry_visibility or (default and asked is not None):
            self.dirty_services.update(before.entries)  # new ones are dirty anyway

    def take_all(self) -> None:
        """Addresses may lie in other networks than they did."""
        self.dirty_workloads.update(ref for ref in self.tables.base.objects if ref.kind in ("Pod", "WorkloadEntry"))
        self.dirty_endpoints.update(self.tables.base.services)  # new ones are dirty anyway

    # What becomes of it.

    def settle(self) -> None:
        for ref in self.dirty_workloads:
            self._settle_workload(ref)
        for key in self.dirty_services:
            self._settle_service(key)
        self.dirty_endpoints |= self.dirty_services
        for key in self.dirty_endpoints:
            self._settle_endpoints(key)

    def _settle_workload(self, ref: Ref) -> None:
        tables = self.tables
        old, new = tables.workloads.get(ref), self._derive_workload(ref)
        if old == new:
            return
        self.changed_workloads.add(ref)
        for workload in (old, new):
            self.dirty_endpoints.update(self._depending(workload) if workload else ())
        assign(tables.workloads, ref, new)
        move(tables.labelled, ref, _pairs(old), _pairs(new))
        for address in {a for w in (old, new) if w for a in w.addresses if is_ip(a)}:
            refs = {*tables.by_address.get(address, ())} - {ref}
            refs |= {ref} if new and address in new.addresses else set()
            assign(tables.by_address, address, tuple(sorted(refs)) or None)

    def _derive_workload(self, ref: Ref) -> Workload | None:
        tables = self.tables
        obj = tables.objects.get(ref)
        if obj is None:
            return None
        if isinstance(obj.spec, WorkloadEntry):
            return tables.placing.workload(workloads.entry_workload(obj))
        node = tables.objects.get(Ref("Node", "", obj.spec.node_name))
        return tables.placing.workload(workloads.pod_workload(obj, node.meta.labels if node else {}))

    def _depending(self, workload: Workload) -> Iterator[ServiceKey]:
        """Services whose endpoints are made from it. Pods become those of a Kubernetes Service by its slices alone."""
        tables = self.tables
        for at in {_service_of(tables.objects[ref]) for ref in tables.pod_slices.get(workload.ref, ())}:
            yield kubernetes.service_key(Ref("Service", *at), tables.domain)
        for key in selected_by(tables.selecting, tables.selectors, workload):
            if workload.ref.kind != "Pod" or key in tables.merges:
                yield key

    def _settle_service(self, key: ServiceKey) -> None:
        tables = self.tables
        old, new = tables.services.get(key), self._derive_service(key)
        before, after = tables.selectors.get(key, ()), self._selectors(key, new)
        if before != after:
            assign(tables.selectors, key, after or None)
            pairs = [{(key.namespace, *s[0]) for s in selectors} for selectors in (before, after)]
            move(tables.selecting, key, *pairs)
        if old == new:
            return
        self.changed_services.add(key)
        assign(tables.services, key, new)
        move(tables.in_namespace, key, [key.namespace] if old else [], [key.namespace] if new else [])
        host = key.host.lower()
        keys = {*tables.by_host.get(host, ())} - {key} | ({key} if new else set())
        ordered = sorted((tables.services[k] for k in keys), key=lambda s: s.age_key)
        assign(tables.by_host, host, tuple(s.key for s in ordered) or None)

    def _derive_service(self, key: ServiceKey) -> Service | None:
        tables = self.tables
        annotations = tables.namespace_annotations(key.namespace)
        entries = [tables.objects[ref] for ref in tables.entries.get(key, ())]
        obj = tables.objects.get(Ref("Service", key.namespace, key.host.partition(".")[0]))
        merged = None
        if obj is not None and kubernetes.service_key(obj.ref, tables.domain) == key:
            service = kubernetes.service(obj, tables.domain, annotations)
            merged = serviceentry.beside(service, entries) if entries else None
        elif entries:
            merged = serviceentry.merge(key, entries, annotations)
            service = self._capped(merged.service)
        else:
            service = None
        assign(tables.merges, key, merged)
        tables.note(("service", key), ((e.ref, text) for e, text in (merged.notes if merged else ())))
        return service

    def _capped(self, service: Service) -> Service:
        tables = self.tables
        labels = dict(tables.namespaces.get(service.namespace, ()))
        scopes = service.export_to or tables.mesh.default_service_export_to or ("*",)
        found = visibility.cap(scopes, service.namespace, labels, tables.service_entry_visibility)
        return service if found is None else replace(service, export_to=found, export_capped=True)

    def _selectors(self, key: ServiceKey, service: Service | None) -> tuple[Labels, ...]:
        merged = self.tables.merges.get(key)
        found = [service.selector] if service else []
        found += [serviceentry.selector_of(entry) for entry in (merged.entries if merged else ())]
        return tuple(sorted({s for s in found if s}))

    def _settle_endpoints(self, key: ServiceKey) -> None:
        tables = self.tables
        service, old = tables.services.get(key), tables.endpoints.get(key)
        new = self._derive_endpoints(service) if service else None
        if old == new:
            return
        assign(tables.endpoints, key, new)
        move(tables.serving, key, _addresses(old or ()), _addresses(new or ()))
        if (old or ()) != (new or ()):
            self.changed_endpoints.add(key)

    def _derive_endpoints(self, service: Service) -> tuple[Endpoint, ...]:
        tables = self.tables
        found: tuple[Endpoint, ...] = ()
        if service.registry is Registry.KUBERNETES:
            found = self._kubernetes_endpoints(service)
        merged = tables.merges.get(service.key)
        if merged is not None:
            selectors = {serviceentry.selector_of(entry) for entry in merged.entries}
            chosen = {s: self._select(service.namespace, s) for s in selectors if s}
            found += serviceentry.endpoints(merged, chosen, tables.cluster)
        return tuple(map(tables.placing.endpoint, found)) if tables.placing else found

    def _kubernetes_endpoints(self, service: Service) -> tuple[Endpoint, ...]:
        tables = self.tables
        obj = tables.objects[service.sources[0]]
        if service.resolution is Resolution.ALIAS:
            return ()
        listed = kubernetes.slice_endpoints(service, self._slices(service), tables.workloads.get, tables.cluster)
        chosen = self._select(service.namespace, service.selector) if service.selector else []
        entries = [w for w in chosen if w.ref.kind == "WorkloadEntry"]
        return listed + kubernetes.entry_endpoints(service, obj, entries, tables.cluster, listed)

    def _slices(self, service: Service) -> Iterator[tuple[Ref, EndpointSliceBody]]:
        """EndpointSlices; legacy Endpoints only where there is no slice."""
        refs = self.tables.slices.get((service.namespace, service.name), ())
        modern = [ref for ref in refs if ref.kind == "EndpointSlice"]
        for ref in modern or refs:
            body = self.tables.objects[ref].spec
            for part in kubernetes.endpoints_as_slice(body) if isinstance(body, EndpointsBody) else (body,):
                yield ref, part

    def _select(self, namespace: str, selector: Labels) -> list[Workload]:
        """Workloads of the namespace that meet a selector, in a fixed order."""
        candidates = self.tables.labelled.get((namespace, *selector[0]), ())
        met = (w for ref in candidates if (w := self.tables.workloads[ref]).selected_by(selector))
        return sorted(met, key=lambda w: w.ref)


def _node(pod: Old) -> list[str]:
    return [pod.spec.node_name] if pod and pod.spec.node_name else []


def _service_of(obj: Object[Any]) -> tuple[str, str]:
    """Namespace and name of the Service that a slice, or Endpoints, belong to; name "" for none."""
    name = obj.ref.name if obj.ref.kind == "Endpoints" else obj.meta.labels.get(kubernetes.SERVICE_NAME, "")
    return obj.ref.namespace, name


def _listed(obj: Old) -> set[Ref]:
    """The Pods that a slice, or Endpoints, list."""
    if obj is None:
        return set()
    body, own = obj.spec, obj.ref.namespace
    if isinstance(body, EndpointsBody):
        items: Iterable[Any] = (a for s in body.subsets for a in (*s.addresses, *s.not_ready_addresses))
    else:
        items = body.endpoints
    targets = (item.target_ref for item in items if item.target_ref)
    return {Ref("Pod", t.namespace or own, t.name) for t in targets if t.kind == "Pod"}


def _pairs(workload: Workload | None) -> Iterator[Pair]:
    return ((workload.namespace, k, v) for k, v in workload.labels) if workload else iter(())


def _addresses(endpoints: tuple[Endpoint, ...]) -> set[str]:
    return {e.address for e in endpoints if is_ip(e.address)}
