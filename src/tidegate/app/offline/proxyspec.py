"""A proxy that is described in a file, or found among the workloads of manifests."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import msgspec

from tidegate.api.mesh import ProxyConfig
from tidegate.api.objects import Ref
from tidegate.api.yamltext import YamlError, read_yaml
from tidegate.dump.read import parse
from tidegate.inject import proxyconfigs
from tidegate.inject.proxyconfigs import Said
from tidegate.kit.bootstraps import ASKS
from tidegate.kit.errors import TidegateError
from tidegate.registry.model import Workload
from tidegate.rules.annotations import MODE
from tidegate.snapshot.world import World

ASSUMED = "192.0.2.1"
"""Address of a workload whose manifest has none (RFC 5737: for documentation, so that it meets no real one)."""
_LARGEST = 4 * 1024 * 1024
PROXY_CONFIG = "proxy.istio.io/config"
"""Annotation with a Pod's own ProxyConfig."""
_VARIABLE = "ISTIO_META_"
"""Of the agent's environment, what becomes node metadata."""
_NAMED = 12
"""Candidates that an error lists."""


class ProxySpec(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """One proxy. All but the name may be left out; ``metadata`` wins over the fields beside it."""

    name: str
    type: Literal["sidecar", "router"] = "sidecar"
    ip: str = ""
    ips: tuple[str, ...] = ()
    """Instead of ``ip``: the first one goes into the node id."""
    namespace: str = "default"
    id: str = ""
    """Third part of the node id, ``pod.namespace``; by default the name and the namespace."""
    dns_domain: str = ""
    labels: dict[str, str] = {}
    """Count where no Pod or WorkloadEntry has the address."""
    service_account: str = ""
    cluster_id: str = msgspec.field(default="", name="clusterID")
    network: str = ""
    node_name: str = ""
    locality: str = ""
    """``region/zone/subzone``."""
    istio_version: str = ""
    metadata: dict[str, Any] = {}
    """Node metadata as an agent sends it: INTERCEPTION_MODE, DNS_CAPTURE, HTTP10, IDLE_TIMEOUT, PROXY_CONFIG."""

    @property
    def addresses(self) -> tuple[str, ...]:
        return self.ips or ((self.ip,) if self.ip else (ASSUMED,))

    @property
    def node_id(self) -> str:
        return self.id or f"{self.name}.{self.namespace}"


def read(file: Path, name: str = "") -> ProxySpec:
    """The specification in a file of JSON or YAML: one, or a list of which ``name`` chooses.

    Raises TidegateError that tells what is wrong with it and where.
    """
    found = convert_all(_parsed(file), str(file))
    chosen = [each for each in found if name in ("", each.name, f"{each.name}.{each.namespace}")]
    if len(chosen) == 1:
        return chosen[0]
    names = ", ".join(f"{each.name}.{each.namespace}" for each in found) or "none"
    if not chosen:
        raise TidegateError(f"{file}: describes no proxy {name}; it has: {names}")
    raise TidegateError(f"{file}: describes {len(chosen)} proxies; name one of: {names}")


def of_dump(text: bytes, name: str) -> ProxySpec:
    """The proxy that a configuration dump is of, by its node id; ``name``: what it is taken to be called.

    Raises TidegateError for a dump of another proxy, and for one that does not tell.
    """
    node_id = parse(text).bootstrap().node.id
    found = of_node(node_id)
    if found is None:
        raise TidegateError(
            f"the dump does not tell whose it is (node id {node_id!r}): describe it with --proxy-spec FILE"
        )
    if name not in ("", found.name, f"{found.name}.{found.namespace}"):
        raise TidegateError(f"the dump is that of {found.name}.{found.namespace}, not of {name}")
    return found


def of_node(node_id: str) -> ProxySpec | None:
    """The proxy that an Envoy's node id names, ``TYPE~IP~POD.NAMESPACE~DOMAIN``; None for one of another form."""
    parts = node_id.split("~")
    if len(parts) != 4 or parts[0] not in ("sidecar", "router"):
        return None
    name, dot, namespace = parts[2].rpartition(".")
    if not (name and dot and namespace):
        return None
    kind: Literal["sidecar", "router"] = "router" if parts[0] == "router" else "sidecar"
    return ProxySpec(name=name, namespace=namespace, type=kind, ip=parts[1], dns_domain=parts[3])


def convert_all(raw: Any, where: str) -> list[ProxySpec]:
    """Specifications from decoded JSON, one or a list. Raises TidegateError."""
    try:
        return [msgspec.convert(each, ProxySpec) for each in (raw if isinstance(raw, list) else [raw])]
    except msgspec.ValidationError as error:
        known = ", ".join(field.encode_name for field in msgspec.structs.fields(ProxySpec))
        raise TidegateError(f"{where}: is no proxy specification: {error}; its fields are {known}") from error


def _parsed(file: Path) -> Any:
    try:
        with file.open("rb") as opened:
            text = opened.read(_LARGEST).decode()
    except (OSError, UnicodeDecodeError) as error:
        raise TidegateError(f"{file}: cannot be read: {error}") from error
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass  # YAML, then
    try:
        return read_yaml(text)
    except YamlError as error:
        raise TidegateError(f"{file}: is neither JSON nor YAML: {error}") from error


def candidates(world: World) -> list[Workload]:
    """Workloads that may have a sidecar."""
    return sorted(world.workloads.values(), key=lambda w: w.ref)


def choose(world: World, name: str) -> ProxySpec:
    """The proxy of the Pod, WorkloadEntry or Deployment ``NAME[.NAMESPACE]``; of the only workload for "".

    Raises TidegateError that lists the candidates.
    """
    everyone = candidates(world)
    found = [w for w in everyone if name in ("", w.ref.name, f"{w.ref.name}.{w.namespace}")] or _alike(everyone, name)
    if len(found) == 1:
        return of_workload(found[0], world)
    if not everyone:
        raise TidegateError("there is no Pod and no WorkloadEntry: describe the proxy with --proxy-spec FILE")
    if not name:
        raise TidegateError(f"{len(everyone)} workloads could be meant; name one of: {_names(everyone)}")
    if not found:
        raise TidegateError(f"no Pod or WorkloadEntry is named {name}; there are: {_names(everyone)}")
    raise TidegateError(f"{name} is the name of {len(found)} workloads; name one of: {_names(found)}")


def _alike(everyone: Iterable[Workload], name: str) -> list[Workload]:
    """The first of the Pods that one owner, such as a Deployment, has: they are alike."""
    owned = [w for w in everyone if name in (w.workload_name, f"{w.workload_name}.{w.namespace}")]
    return owned[:1] if len({w.namespace for w in owned}) == 1 else owned


def of_workload(workload: Workload, world: World) -> ProxySpec:
    """The specification that a workload of the manifests amounts to."""
    return ProxySpec(
        name=workload.ref.name,
        namespace=workload.namespace,
        ips=workload.addresses or (ASSUMED,),
        service_account=workload.service_account,
        type="router" if workload.gateway or _named_by_gateway(workload, world) else "sidecar",
        metadata=_metadata(dict(workload.annotations), world.mesh.default_config, _said(workload, world)),
    )


def _named_by_gateway(workload: Workload, world: World) -> bool:
    """Whether a Gateway's selector means the Pod: who writes a gateway's Pod by hand leaves out what tells it else."""
    labels = dict(workload.labels)
    if workload.ref.kind != "Pod":
        return False
    selectors = (each.spec.selector for _, group in world.policies("Gateway").items() for each in group)
    return any(wanted and wanted.items() <= labels.items() for wanted in selectors)


def _said(workload: Workload, world: World) -> Said:
    """What the ProxyConfigs say of the proxy beside a Pod; others are not injected."""
    if workload.ref.kind != "Pod":
        return Said()
    root, namespace = world.mesh.root_namespace, workload.namespace
    found = [each for space in {root, namespace} for each in world.policies_in("ProxyConfig", space)]
    return proxyconfigs.of_pod(found, root, namespace, dict(workload.labels))


def _metadata(annotations: dict[str, str], default: ProxyConfig | None, said: Said) -> dict[str, Any]:
    """What the agent beside a workload says of how its proxy runs: ``proxyMetadata`` and the interception mode, by
    the mesh's defaultConfig, over that the Pod's ``proxy.istio.io/config`` (ProxyConfigs of the mesh and the namespace
    are below it, one that selects the Pod is above), over that its annotation for the mode."""
    try:
        own = read_yaml(annotations.get(PROXY_CONFIG, ""))
    except YamlError:
        own = None
    own = own if isinstance(own, dict) else {}
    mesh = {"proxyMetadata": dict(default.proxy_metadata)} if default is not None else {}
    given = own.get("proxyMetadata")
    variables = said.joined(mesh, {"proxyMetadata": given} if isinstance(given, dict) else {}).get("proxyMetadata", {})
    found: dict[str, Any] = {
        name.removeprefix(_VARIABLE): value for name, value in variables.items() if str(name).startswith(_VARIABLE)
    }
    if ASKS in variables:
        found[ASKS] = str(variables[ASKS])
    mode = annotations.get(MODE) or own.get("interceptionMode") or (default.interception_mode if default else "")
    return {**found, "INTERCEPTION_MODE": str(mode)} if mode else found


def _names(found: Iterable[Workload]) -> str:
    names = [f"{w.ref.name}.{w.namespace}" for w in found]
    return ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")


def placed(world: World, spec: ProxySpec) -> Workload:
    """The workload that the proxy stands beside: the Pod or WorkloadEntry of its address or its name, else one that
    the specification describes."""
    refs = [r for a in spec.addresses for r in world.by_address.get(a, ()) if r.namespace == spec.namespace]
    named = Ref("Pod", spec.namespace, spec.node_id.partition(".")[0])
    refs += [named] if named in world.workloads else []
    if refs:
        return _completed(world.workloads[refs[0]], spec)
    labels = tuple(sorted(spec.labels.items()))
    own = Ref("Pod", str(spec.metadata.get("NAMESPACE") or spec.namespace), named.name)
    return _completed(Workload(ref=own, addresses=spec.addresses, labels=labels), spec)


def _completed(found: Workload, spec: ProxySpec) -> Workload:
    return msgspec.structs.replace(
        found,
        addresses=spec.addresses if spec.ip or spec.ips else found.addresses or spec.addresses,
        service_account=spec.service_account or found.service_account or "default",
        locality=spec.locality or found.locality,
        network=spec.network or found.network,
        node_name=spec.node_name or found.node_name,
    )
