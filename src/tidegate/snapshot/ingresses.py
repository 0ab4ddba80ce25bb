"""The step of Ingresses: Gateways and VirtualServices are derived from them, and enter the world as others do."""

from collections.abc import Iterable, Iterator
from typing import Any

from tidegate.api.mesh import MeshConfig
from tidegate.api.objects import Object, Ref
from tidegate.registry import ingress, kubernetes
from tidegate.registry.model import ServiceKey
from tidegate.snapshot.tables import Tables, assign, move

Old = Object[Any] | None


def ingress_settings(mesh: MeshConfig) -> tuple[object, ...]:
    """What of a mesh configuration says which Ingresses count, and which proxies serve them."""
    return mesh.ingress_controller_mode, mesh.ingress_class, mesh.ingress_selector, mesh.ingress_service


class IngressStep:
    """``take`` notes an Ingress that came, changed or went; ``settle`` derives what it stands for."""

    def __init__(self, tables: Tables) -> None:
        self.tables = tables
        self.dirty: set[Ref] = set()
        self.dirty_hosts: set[str] = set()

    def take(self, ref: Ref, old: Old, new: Old) -> None:
        before, after = (ingress.hosts_of(each) if each else frozenset() for each in (old, new))
        move(self.tables.ingresses, ref, before, after)
        self.dirty.add(ref)
        self.dirty_hosts |= before | after

    def take_all(self) -> None:
        """The mesh's ingress settings changed."""
        for host, refs in self.tables.base.ingresses.items():  # new ones are dirty anyway
            self.dirty_hosts.add(host)
            self.dirty.update(refs)

    def take_services(self, changed: Iterable[ServiceKey]) -> None:
        """Services changed: backends may name their ports."""
        spaces = {key.namespace for key in changed} if self.tables.base.ingresses else frozenset()
        for host, refs in self.tables.base.ingresses.items() if spaces else ():
            named = [r for r in refs if r.namespace in spaces and ingress.names_ports(self.tables.base.objects[r])]
            self.dirty.update(named)
            self.dirty_hosts.update([host] if named else ())

    def settle(self) -> Iterator[tuple[Ref, Old]]:
        """Derived objects that came or changed, or (None) went."""
        for ref in sorted(self.dirty):
            yield ingress.gateway_ref(ref), self._gateway(ref)
        for host in sorted(self.dirty_hosts):
            yield from self._rules(host)

    def _ours(self, ref: Ref) -> Old:
        found = self.tables.objects.get(ref)
        return found if found is not None and ingress.is_ours(found, self.tables.mesh) else None

    def _gateway(self, ref: Ref) -> Old:
        found = self._ours(ref)
        texts = ingress.left_out(found, self._port_of) if found is not None else ()
        self.tables.note(("ingress", ref), ((ref, text) for text in texts))
        return ingress.gateway(found, self.tables.mesh) if found is not None else None

    def _rules(self, host: str) -> Iterator[tuple[Ref, Old]]:
        tables = self.tables
        refs = tables.ingresses.get(host) or ()
        ours = sorted((found for ref in refs if (found := self._ours(ref))), key=lambda each: each.age_key)
        made = ingress.virtual_service(host, ours, tables.domain, self._port_of) if ours else None
        before = tables.ingress_rules.get(host)
        if before is not None and (made is None or made.ref != before):
            yield before, None
        assign(tables.ingress_rules, host, made.ref if made is not None else None)
        if made is not None:
            yield made.ref, made

    def _port_of(self, namespace: str, name: str, port: str) -> int:
        key = kubernetes.service_key(Ref("Service", namespace, name), self.tables.domain)
        service = self.tables.services.get(key)
        return next((p.number for p in service.ports if p.name == port), 0) if service is not None else 0
