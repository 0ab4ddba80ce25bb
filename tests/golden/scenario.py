"""Runs one recorded scenario through the pure core: objects in, resources of each of its proxies out."""

import json
from pathlib import Path
from typing import Any

import yaml

from tidegate.api import decode
from tidegate.api.fields import Duration
from tidegate.api.objects import Ref
from tidegate.envoy.cache import Builders
from tidegate.envoy.defaults import slices
from tidegate.envoy.outbound import Outbound
from tidegate.envoy.resource import CLUSTER, ENDPOINT, LISTENER, ROUTE
from tidegate.envoy.view import ProxyView, build_inbound, inbound_input
from tidegate.kit.errors import InvalidObjectError
from tidegate.registry.model import Workload, labels_of
from tidegate.scope.labels import mentioned, project
from tidegate.scope.proxy import Interception, Proxy, ProxyKind
from tidegate.snapshot.state import Snapshot
from tidegate.snapshot.world import Event, Verb

SECTIONS = {"cds": CLUSTER, "eds": ENDPOINT, "lds": LISTENER, "rds": ROUTE}


class Scenario:
    """A folder of config.yaml, mesh.yaml and proxies.json, brought into a Snapshot."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.rejected = folder, list[str]()
        events = [e for raw in self._documents() if (e := self._event(raw))]
        events.append(self._mesh())
        self.world, _ = Snapshot.empty("cluster.local").apply(events)

    def _documents(self) -> list[dict[str, Any]]:
        text = (self.folder / "config.yaml").read_text()
        found = [d for d in yaml.load_all(text, Loader=yaml.CSafeLoader) if d]
        for number, raw in enumerate(found):
            meta = raw.setdefault("metadata", {})
            if raw["kind"] not in ("Namespace", "Node"):
                meta.setdefault("namespace", "default")
            meta.setdefault("uid", f"uid-{number}")
            if "creationTimestamp" in meta:
                meta["creationTimestamp"] = str(meta["creationTimestamp"]).replace(" ", "T").replace("+00:00", "Z")
        return found

    def _event(self, raw: dict[str, Any]) -> Event | None:
        plain = json.loads(json.dumps(raw, default=str))
        try:
            admitted = decode.admit(plain, field_validation="Strict")
            found = decode.stored(admitted.object)
        except InvalidObjectError as error:
            self.rejected.append(str(error))
            return None
        except (KeyError, ValueError) as error:
            self.rejected.append(f"{raw.get('kind')}: {error}")
            return None
        return Event(Verb.PUT, found.ref, found)

    def _mesh(self) -> Event:
        file = self.folder / "mesh.yaml"
        text = file.read_text() if file.exists() else ""
        raw = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "istio", "namespace": "istio-system", "uid": "mesh"},
            "data": {"mesh": text},
        }
        found = decode.stored(raw)
        return Event(Verb.PUT, found.ref, found)

    def proxies(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads((self.folder / "proxies.json").read_text())
        return found

    def proxy(self, spec: dict[str, Any]) -> Proxy:
        namespace = spec.get("namespace") or "default"
        addresses = tuple(spec.get("ips") or [spec["ip"]])
        workload = self._workload(addresses, namespace, spec)
        labels = workload.labels if workload else labels_of(spec.get("labels") or {})
        return Proxy(
            name=spec.get("id") or f"{spec['name']}.{namespace}",
            addresses=addresses,
            kind=self._kind(spec, namespace, addresses, workload, dict(labels)),
            labels=labels,
            service_account=spec.get("serviceAccount") or "default",
            workload=workload.ref if workload else None,
        )

    def _workload(self, addresses: tuple[str, ...], namespace: str, spec: dict[str, Any]) -> Workload | None:
        refs = [r for a in addresses for r in self.world.by_address.get(a, ()) if r.namespace == namespace]
        named = Ref("Pod", namespace, (spec.get("id") or spec["name"]).partition(".")[0])
        refs += [named] if named in self.world.workloads else []
        return self.world.workloads[refs[0]] if refs else None

    def _kind(
        self,
        spec: dict[str, Any],
        namespace: str,
        addresses: tuple[str, ...],
        workload: Workload | None,
        labels: dict[str, str],
    ) -> ProxyKind:
        world, metadata = self.world, spec.get("metadata") or {}
        rules = (*world.virtual_services.values(), *world.destination_rules.values(), *world.sidecars.values())
        keys = frozenset(key for rule in rules for key in mentioned(rule.spec))
        return ProxyKind(
            namespace=namespace,
            dns_domain=spec.get("dnsDomain") or f"{namespace}.svc.cluster.local",
            labels=project(labels_of(labels), keys),
            locality=spec.get("locality") or (workload.locality if workload else ""),
            network=spec.get("network") or (workload.network if workload else ""),
            node_name=spec.get("nodeName") or (workload.node_name if workload else ""),
            interception=Interception(metadata.get("INTERCEPTION_MODE") or "REDIRECT"),
            ipv4=any(":" not in a for a in addresses),
            ipv6=any(":" in a for a in addresses),
            http10=bool(metadata.get("HTTP10")),
            idle_timeout=Duration.parse(metadata["IDLE_TIMEOUT"]) if metadata.get("IDLE_TIMEOUT") else None,
            dns_capture=str(metadata.get("DNS_CAPTURE", "")).lower() == "true",
            mtls=True,
        )

    def view(self, proxy: Proxy) -> ProxyView:
        cut, builders = slices(self.world.mesh, self.world.domain), Builders()
        outbound = Outbound(proxy.kind, self.world, cut, builders)
        inbound = build_inbound(inbound_input(self.world, proxy, cut), builders)
        return ProxyView("1", outbound.resources, inbound.resources, proxy.addresses)

    def resources(self, spec: dict[str, Any], route_names: list[str]) -> dict[str, dict[str, bytes]]:
        """By section of the expected file, name to body; routes are those that were asked for by name."""
        view = self.view(self.proxy(spec))
        out: dict[str, dict[str, bytes]] = {}
        for section, url in SECTIONS.items():
            names = route_names if section == "rds" else view.names(url)
            found = ((name, view.get(url, name)) for name in names)
            out[section] = {name: each.body for name, each in found if each is not None}
        return out

    def expected(self, spec: dict[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.folder / "expected" / f"{spec['name']}.json").read_text())
        return found
