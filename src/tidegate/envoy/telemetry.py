"""What Telemetry changes in the mesh's settings for the listeners of one proxy.

Equal outcomes give equal settings, so that proxies for which different objects say the same share what is built.
"""

from collections.abc import Iterator
from typing import Any

import msgspec

from tidegate.api.mesh import ExtensionProvider, MeshConfig
from tidegate.api.telemetry import WorkloadMode
from tidegate.envoy.defaults import Slices, keyed
from tidegate.envoy.inputs import Logger, Tracer
from tidegate.envoy.resource import Decision
from tidegate.envoy.tracing import provider_of
from tidegate.kit import naming
from tidegate.registry.model import Labels
from tidegate.scope import telemetry
from tidegate.scope.telemetry import Logging, TracingSettings, access_logging, applicable, tracing
from tidegate.snapshot.world import World

BUILT_IN = "envoy"
"""The provider that takes the mesh's own format where it has none."""


def for_proxy(slices: Slices, world: World, namespace: str, labels: Labels, mode: WorkloadMode) -> Slices:
    """The settings as they hold for one direction of a workload's proxy; the mesh's own where Telemetry says nothing.

    ``labels``: at least those that some Telemetry of the namespace tests.
    """
    objects = applicable(world.policies(telemetry.KIND), world.mesh.root_namespace, namespace, labels)
    changes: dict[str, Any] = {}
    said = access_logging(objects, _log_defaults(world.mesh), mode)
    if said is not None:
        log = msgspec.structs.replace(slices.listener.access_log, loggers=tuple(_loggers(world, said)))
        changes["access_log"] = log
    traced = tracing(objects, _tracing_defaults(world.mesh), mode)
    if traced is not None:
        changes["tracer"] = _tracer(world, traced)
    if not changes:
        return slices
    return msgspec.structs.replace(slices, listener=msgspec.structs.replace(slices.listener, **changes))


def decisions(world: World, namespace: str, labels: Labels, mode: WorkloadMode) -> Iterator[Decision]:
    """Which of several Telemetry objects decides the access log of one direction."""
    objects = applicable(world.policies(telemetry.KIND), world.mesh.root_namespace, namespace, labels)
    saying = [each.ref for each in objects if each.spec.access_logging]
    if len(saying) > 1:
        subject = f"access log as {mode.value.lower()}"
        rule = "the workload's Telemetry before the namespace's, that before the root namespace's"
        yield Decision(subject, rule, saying[-1], tuple(reversed(saying[:-1])))


def _log_defaults(mesh: MeshConfig) -> tuple[str, ...]:
    return mesh.default_providers.access_logging if mesh.default_providers is not None else ()


def _tracing_defaults(mesh: MeshConfig) -> tuple[str, ...]:
    return mesh.default_providers.tracing if mesh.default_providers is not None else ()


def _tracer(world: World, said: TracingSettings) -> Tracer:
    """One for a provider that cannot get spans, or whose service is not known, makes none, as at Istio; a name that no
    provider has lets traces begin."""
    provider = named_provider(world.mesh, said.provider)
    to = provider_of(provider)
    host = known_host(world, to.service, to.port) if to is not None else ""
    return Tracer(
        provider=keyed(provider) if provider is not None and host else None,
        host=host,
        cluster=naming.outbound_cluster(to.port, "", host) if to is not None and host else "",
        reported=not said.disabled and bool(host or provider is None),
        sampling=said.sampling,
        custom_tags=said.custom_tags,
        use_request_id=said.use_request_id,
        istio_tags=said.istio_tags,
    )


def named_provider(mesh: MeshConfig, name: str) -> ExtensionProvider | None:
    """The first of that name, in any case of letters, as Istio finds it."""
    return next((each for each in mesh.extension_providers if each.name.lower() == name.lower()), None)


def asks_services(mesh: MeshConfig) -> bool:
    """Whether some provider's logs or spans go to a service, so that services coming and going can matter."""
    return any(_service_of(provider) or provider_of(provider) for provider in mesh.extension_providers)


def _loggers(world: World, said: tuple[Logging, ...]) -> Iterator[Logger]:
    """Providers that are no access logs, or whose service is not known, are left out, as Istio does."""
    for each in said:
        provider = named_provider(world.mesh, each.provider)
        if provider is not None and _is_log(provider):
            logger = _logger(world, provider, each.expression)
            if logger is not None:
                yield logger


def _is_log(provider: ExtensionProvider) -> bool:
    return provider.envoy_file_access_log is not None or bool(_service_of(provider))


def _service_of(provider: ExtensionProvider) -> tuple[str, int] | None:
    found = provider.envoy_http_als or provider.envoy_tcp_als or provider.envoy_otel_als
    return (found.service, found.port) if found is not None else None


def _logger(world: World, provider: ExtensionProvider, expression: str) -> Logger | None:
    asked = _service_of(provider)
    host = known_host(world, asked[0], asked[1]) if asked is not None else ""
    if asked is not None and not host:
        return None
    return Logger(
        provider=keyed(provider),
        host=host,
        cluster=naming.outbound_cluster(asked[1], "", host) if asked is not None else "",
        expression=expression,
        of_mesh=provider.name == BUILT_IN,
    )


def known_host(world: World, service: str, port: int) -> str:
    """The host of the service that a provider names as ``[namespace/]host``, if it has the port; else ""."""
    namespace, slash, host = service.partition("/") if "/" in service else ("", "", service)
    for key in world.by_host.get(host.lower(), ()):
        found = world.services[key]
        if (not slash or found.namespace == namespace) and any(p.number == port for p in found.ports):
            return found.host
    return ""
