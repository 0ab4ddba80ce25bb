"""Cases of simulation and of xds_summary: one set-up of a mesh with one proxy, brought into a world and compiled.

Objects come as YAML; some cases give registry entries beside it, which no object describes. Those are put into the
world as the values that the registry makes of objects.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import yaml

from tidegate.app.offline import manifests, proxyspec
from tidegate.app.offline import world as offline
from tidegate.app.offline.compile import Compiled, compile_proxy
from tidegate.app.offline.proxyspec import ProxySpec
from tidegate.app.offline.world import Offline
from tidegate.inject.settings import merged
from tidegate.registry.model import (
    UNSPECIFIED,
    Endpoint,
    Health,
    Port,
    Protocol,
    Registry,
    Resolution,
    Service,
    ServiceKey,
    ServiceTarget,
    Workload,
    labels_of,
)
from tidegate.snapshot.state import Snapshot

Json = dict[str, Any]

_RESOLUTIONS = {
    "ClientSide": Resolution.CLIENT_SIDE,
    "DNS": Resolution.DNS,
    "DNSRoundRobin": Resolution.DNS_ROUND_ROBIN,
    "Passthrough": Resolution.PASSTHROUGH,
    "DynamicDNS": Resolution.DYNAMIC_DNS,
    "Alias": Resolution.ALIAS,
    "5": Resolution.DYNAMIC_DNS,
}
_PROTOCOLS = {each.value.upper(): each for each in Protocol}
_HEALTH = {1: Health.HEALTHY, 2: Health.UNHEALTHY, 3: Health.DRAINING}
_INTERNAL = re.compile(r"^ +internal\.istio\.io/(parents|parent-namespace|webhook-always-reject): .*\n", re.MULTILINE)
"""Annotations of objects that istiod itself made of others, which no user may write."""


_FINER = re.compile(r"\b(\d+(?:\.\d{1,3})?)\d*s(?=\")")
"""Durations finer than milliseconds, which Istio's own admission refuses."""


def _istio_objects(found: manifests.Manifests) -> manifests.Manifests:
    """What a store of Istio's configuration takes: other objects in the same text are nothing to it. Objects without
    a creation time are ordered as they are listed, but for Gateways, which go by their names."""
    kept = tuple(d for d in found.documents if isinstance(d.raw, dict) and _GROUPS.search(str(d.raw.get("apiVersion"))))
    for number, document in enumerate(kept):
        meta = document.raw.get("metadata")
        if isinstance(meta, dict) and document.raw.get("kind") != "Gateway":
            meta.setdefault(
                "creationTimestamp", f"0001-01-01T{number // 3600:02}:{number // 60 % 60:02}:{number % 60:02}Z"
            )
    return manifests.Manifests(kept, found.broken)


_GROUPS = re.compile(r"^([a-z0-9-]+\.)*(istio|k8s)\.io/")


class Case:
    """One file of ``cases/``."""

    def __init__(self, raw: Json, default_mesh: Json) -> None:
        self.raw, self._default_mesh = raw, default_mesh

    @property
    def name(self) -> str:
        return str(self.raw["name"])

    @property
    def features(self) -> dict[str, str]:
        found: dict[str, str] = self.raw.get("features") or {}
        return found

    @property
    def proxy_type(self) -> str:
        return str(self.raw["proxy"]["type"])

    def world(self) -> Offline:
        """The set-up as the control plane would hold it; objects that admission refuses are in its ``findings``."""
        found = manifests.parse(_INTERNAL.sub("", self.raw.get("config_yaml") or ""), "config_yaml")
        objects = manifests.parse(self.raw.get("kube_yaml") or "", "kube_yaml")
        mesh = manifests.parse(yaml.safe_dump(offline.mesh_config_map(self.mesh_text())), "mesh")
        found = _istio_objects(found)
        parts = (objects, found, mesh)
        everything = manifests.Manifests(
            tuple(d for p in parts for d in p.documents), tuple(b for p in parts for b in p.broken)
        )
        made = offline.build(everything, offline.Settings(variables=self.features, judged=False))
        if self.raw.get("services"):
            made.hub.world = registered(made.hub.world, self.raw["services"], self.raw.get("instances") or [])
        return made

    def mesh_text(self) -> str:
        """The mesh configuration: what the case overrides, over the suite's default."""
        exact = self.raw.get("mesh_exact")
        mesh = exact if exact is not None else merged(self._default_mesh, self.raw.get("mesh_overrides") or {})
        return _FINER.sub(r"\1s", json.dumps(mesh))

    def spec(self) -> ProxySpec:
        """The proxy as ``tidegate compile --proxy-spec`` takes it. Raises ValueError for a type that it has not."""
        given = self.raw["proxy"]
        if given["type"] not in ("sidecar", "router"):
            raise ValueError(f"no proxies of type {given['type']} are configured")
        return ProxySpec(
            name=given["id"].partition(".")[0],
            type=given["type"],
            id=given["id"],
            ips=tuple(given["ip_addresses"]),
            namespace=given["namespace"],
            dns_domain=given["dns_domain"],
            labels=given.get("labels") or {},
            locality=_locality(given.get("locality")),
            network=(given.get("metadata") or {}).get("NETWORK", ""),
            metadata=given.get("metadata") or {},
        )

    def compiled(self) -> Compiled:
        return compile_proxy(self.world(), self.spec())


def _locality(given: Any) -> str:
    if isinstance(given, dict):
        return "/".join(given.get(key, "") for key in ("region", "zone", "subZone")).rstrip("/")
    return given or ""


def load(file: Path) -> Case:
    """A case, with the default mesh configuration that lies beside its suite's folder of cases."""
    default = json.loads((file.parent.parent / "default_mesh.json").read_text())
    return Case(json.loads(file.read_text()), default)


def load_all(suite: Path) -> Iterator[Case]:
    """The cases of a suite's folder, by file name."""
    default = json.loads((suite / "default_mesh.json").read_text())
    for file in sorted((suite / "cases").glob("*.json")):
        yield Case(json.loads(file.read_text()), default)


# Registry entries that no object describes


class Registered(Snapshot, frozen=True, eq=False, kw_only=True):
    """A world in which entries of the registry belong to whoever has the address of an endpoint, in any namespace."""

    registered: frozenset[ServiceKey] = frozenset()

    def targets(self, workload: Workload) -> tuple[ServiceTarget, ...]:
        found = [t for t in super().targets(workload) if t.service.key not in self.registered]
        mine = sorted((self.services[key] for key in self.registered), key=lambda s: s.age_key)
        own = dict.fromkeys(t for service in mine for t in self._by_address(service, workload))
        return (*found, *own)

    def _by_address(self, service: Service, workload: Workload) -> Iterator[ServiceTarget]:
        for port in service.ports:
            for endpoint in self.endpoints.get(service.key, ()):
                if endpoint.address in workload.addresses and endpoint.port_name == port.name:
                    yield ServiceTarget(service, port, endpoint.port)


def registered(world: Snapshot, services: list[Json], instances: list[Json]) -> Snapshot:
    """``world`` with the services and endpoints of a case beside those of its objects."""
    made: dict[ServiceKey, Service] = {}
    for raw in services:
        service = _service(raw)
        made[service.key] = _joined(made[service.key], service) if service.key in made else service
    found: dict[ServiceKey, list[Endpoint]] = {key: [] for key in made}
    for raw in instances:
        key = ServiceKey(_namespace(raw.get("service_namespace")), raw.get("service") or "")
        if key in found:
            found[key] += _endpoints(raw)
    fields = {name: getattr(world, name) for name in world.__struct_fields__}
    by_host, serving = world.by_host, world.serving
    for key in made:
        host = key.host.lower()
        keys = {*by_host.get(host, ()), key}
        known = {
            **{k: world.services[k] for k in keys if k in world.services},
            **{k: made[k] for k in keys & made.keys()},
        }
        by_host = by_host.set(host, tuple(sorted(keys, key=lambda k: known[k].age_key)))
    fields |= {
        "services": world.services.update(made),
        "endpoints": world.endpoints.update({key: tuple(each) for key, each in found.items()}),
        "by_host": by_host,
        "serving": serving,
    }
    return Registered(**fields, registered=frozenset(made))


def _joined(one: Service, other: Service) -> Service:
    """Two entries of one host: its addresses together."""
    addresses = tuple(dict.fromkeys((*one.addresses, *other.addresses)))
    return msgspec.structs.replace(one, addresses=addresses)


def _service(raw: Json) -> Service:
    registry = Registry.KUBERNETES if raw.get("service_registry") == "Kubernetes" else Registry.EXTERNAL
    address = raw.get("default_address") or UNSPECIFIED
    automatic = (raw.get("auto_allocated_ipv4"), raw.get("auto_allocated_ipv6"))
    return Service(
        key=ServiceKey(_namespace(raw.get("namespace")), raw.get("hostname") or ""),
        registry=registry,
        resolution=_RESOLUTIONS.get(raw.get("resolution", ""), Resolution.CLIENT_SIDE),
        ports=tuple(_port(each) for each in raw.get("ports") or ()),
        addresses=() if address == UNSPECIFIED else (address,),
        auto_addresses=tuple(each for each in automatic if each),
        name=raw.get("name") or (raw.get("hostname") or "").partition(".")[0],
        created=raw.get("creation_time") or "",
        labels=labels_of(raw.get("labels") or {}),
        selector=labels_of(raw.get("label_selectors") or {}),
        export_to=frozenset(raw["export_to"]) if raw.get("export_to") else None,
        external=bool(raw.get("mesh_external")),
        subject_alt_names=tuple(raw.get("service_accounts") or ()),
        sources=(),
    )


def _namespace(given: str | None) -> str:
    return given or "default"


def _port(raw: Json) -> Port:
    return Port(raw["port"], raw.get("name") or "", _PROTOCOLS.get((raw.get("protocol") or "").upper(), Protocol.AUTO))


def _endpoints(raw: Json) -> Iterator[Endpoint]:
    given = raw["endpoint"]
    for address in given.get("addresses") or ():
        yield Endpoint(
            address=address,
            port=given.get("port") or 0,
            port_name=raw["service_port"].get("name") or "",
            labels=labels_of(given.get("labels") or {}),
            locality=given.get("locality") or "",
            network=given.get("network") or "",
            weight=given.get("lb_weight") or 0,
            service_account=given.get("service_account") or "",
            health=_HEALTH.get(given.get("health") or 1, Health.HEALTHY),
            tls_mode=given.get("tls_mode") or "disabled",
            workload_name=given.get("workload") or "",
            workload_namespace=given.get("namespace") or "",
            hostname=given.get("hostname") or "",
        )


__all__ = ["Case", "Registered", "load", "load_all", "proxyspec", "registered"]
