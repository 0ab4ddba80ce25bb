"""Access logs, spans, and names under which statistics count."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
from google.protobuf import json_format

from conformance import difference
from conformance.recorded.compare import normalized
from conformance.suite import Json, Outcome, cases, judged
from tidegate.api import meshconfig
from tidegate.api.decode import stored
from tidegate.api.telemetry import WorkloadMode
from tidegate.app.offline.world import mesh_config_map
from tidegate.envoy import accesslog, protos
from tidegate.envoy.defaults import keyed, slices
from tidegate.envoy.inputs import Logger
from tidegate.envoy.stat_names import stat_name
from tidegate.envoy.telemetry import BUILT_IN, for_proxy
from tidegate.kit import naming
from tidegate.registry.model import Port, Protocol, Registry, Resolution, Service, ServiceKey, labels_of
from tidegate.scope.telemetry import KIND, TracingSettings, applicable, tracing
from tidegate.snapshot.state import Snapshot
from tidegate.snapshot.world import Event, Verb

_MODES = {
    "sidecar_inbound": WorkloadMode.SERVER,
    "sidecar_outbound": WorkloadMode.CLIENT,
    "gateway": WorkloadMode.CLIENT,
}


def access_logs(folder: Path) -> Iterator[Outcome]:
    """Providers in use, a provider's configuration, and statistics names."""
    providers = json.loads((folder / "extension_providers.json").read_text())
    parts: tuple[tuple[str, Callable[[Json], str]], ...] = (
        ("access_logging.json", lambda case: _providers(case, providers)),
        ("access_log_config.json", _config),
        ("stat_prefix.json", _stat_prefix),
        ("inbound_stat_prefix.json", _inbound_stat_prefix),
    )
    for name, judge in parts:
        yield from judged(cases(folder / name), lambda c: str(c["name"]), judge)


def spans(folder: Path) -> Iterator[Outcome]:
    """Who gets spans, as client and as server: provider, sampling and tags."""
    yield from judged(cases(folder / "tracing.json"), lambda c: str(c["name"]), _spans)


def statistics(folder: Path) -> int:
    """Cases of Istio's own statistics filters, which upstream Envoy has not."""
    return len(cases(folder / "stats_filters.json"))


def _spans(case: Json) -> str:
    mesh = {"defaultProviders": case["default_providers"], "enableTracing": case["mesh_tracing"]}
    world, proxy = _world(mesh, case["telemetries"]), case["proxy"]
    objects = applicable(
        world.policies(KIND), world.mesh.root_namespace, proxy["namespace"], labels_of(proxy.get("labels") or {})
    )
    modes = {"client": WorkloadMode.CLIENT, "server": WorkloadMode.SERVER}
    named = case["default_providers"].get("tracing") or ()
    said = {name: tracing(objects, named, mode) for name, mode in modes.items()}
    if None in said.values():
        return difference.of(case["expect"], None)
    return difference.of(case["expect"], {name: _shown(each) for name, each in said.items() if each is not None})


def _shown(found: TracingSettings) -> Json:
    return {
        "provider": found.provider or None,
        "disabled": found.disabled,
        "sampling": found.sampling,
        "custom_tags": {name: msgspec.to_builtins(tag) for name, tag in found.custom_tags},
        "use_request_id": found.use_request_id,
        "istio_tags": found.istio_tags,
    }


def _world(mesh: Json, telemetries: list[Json]) -> Snapshot:
    objects = (stored(mesh_config_map(json.dumps(mesh))), *_in_order(telemetries))
    return Snapshot.empty().apply(Event(Verb.PUT, each.ref, each) for each in objects)[0]


def _providers(case: Json, providers: list[Json]) -> str:
    mesh = {
        "extensionProviders": case.get("extension_providers") or providers,
        "defaultProviders": case["default_providers"],
        "enableTracing": case["mesh_tracing"],
    }
    world = _world(mesh, case["telemetries"])
    proxy, mode = case["proxy"], _MODES[case["listener_class"]]
    cut = slices(world.mesh, world.domain)
    found = for_proxy(cut, world, proxy["namespace"], labels_of(proxy.get("labels") or {}), mode)
    loggers = found.listener.access_log.loggers
    return difference.of(case["expect"], None if loggers is None else [each.provider.value.name for each in loggers])


def _in_order(objects: list[Json]) -> Iterator[Any]:
    """Objects without a creation time are ordered as listed."""
    for number, raw in enumerate(objects):
        raw["metadata"].setdefault("creationTimestamp", f"0001-01-01T00:{number // 60:02}:{number % 60:02}Z")
        yield stored(raw)


def _config(case: Json) -> str:
    mesh = meshconfig.parse(json.dumps({**case["mesh"], "extensionProviders": [case["provider"]]}))
    provider = next(each for each in mesh.extension_providers if each.name == case["provider"]["name"])
    asked = provider.envoy_http_als or provider.envoy_tcp_als or provider.envoy_otel_als
    host = asked.service.rpartition("/")[2] if asked is not None else ""
    logger = Logger(
        provider=keyed(provider),
        host=host,
        cluster=naming.outbound_cluster(asked.port, "", host) if asked is not None else "",
        of_mesh=provider.name == BUILT_IN,
    )
    made = accesslog.provider_log(logger, slices(mesh, "cluster.local").listener.access_log)
    wanted = normalized(case["expect"], protos.AccessLogPb)
    return difference.of(wanted, json_format.MessageToDict(made, preserving_proto_field_name=True))


def _stat_prefix(case: Json) -> str:
    service = _service(case["host"], case["service_name"], case["service_namespace"], case["service_registry"])
    port = Port(case["port"]["port"], case["port"].get("name") or "", Protocol.TCP, case["target_port"])
    made = stat_name(case["pattern"], case["host"], service, port, case["subset"])
    return difference.of(case["expect"], made)


def _inbound_stat_prefix(case: Json) -> str:
    registry = Registry.KUBERNETES.value if case["k8s_name"] else ""
    service = _service(case["instance_hostname"], case["k8s_name"], case["k8s_namespace"], registry)
    port = Port(case["port"], case["port_name"], Protocol.TCP)
    return difference.of(case["expect"], stat_name(case["pattern"], "", service, port, case["subset"]))


def _service(host: str, name: str, namespace: str, registry: str) -> Service:
    return Service(
        key=ServiceKey(namespace, host),
        registry=Registry.KUBERNETES if registry == Registry.KUBERNETES.value else Registry.EXTERNAL,
        resolution=Resolution.CLIENT_SIDE,
        ports=(),
        name=name,
    )
