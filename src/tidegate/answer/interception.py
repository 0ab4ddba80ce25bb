"""Whether what stands at the other end is behind a proxy, and what that proxy demands."""

from collections.abc import Iterator

from tidegate.api.objects import Ref
from tidegate.api.security import MutualTLSMode
from tidegate.registry.model import Workload
from tidegate.registry.workloads import TLS_MODE
from tidegate.rules.annotations import capture_options
from tidegate.rules.options import ALL, InvalidCaptureOptionsError
from tidegate.scope.authentication import TLS_ISTIO, PeerModes, peer_modes
from tidegate.snapshot.world import World

_TRAFFIC = "traffic.sidecar.istio.io/"


def left_alone(workload: Workload, port: int) -> str:
    """The annotation's field that keeps an inbound port from the workload's proxy; "" where none does."""
    said = dict(workload.annotations)
    try:
        options = capture_options(said)
    except InvalidCaptureOptionsError:
        return ""
    name = "includeInboundPorts"
    if options.inbound_ports == ALL:
        name = "excludeInboundPorts"
        spared = str(port) in options.local_exclude_ports
    else:
        spared = str(port) not in options.inbound_ports
    return f"metadata.annotations[{_TRAFFIC}{name}]" if spared and _TRAFFIC + name in said else ""


def refuser(world: World, ip: str, port: int) -> Ref | None:
    """The PeerAuthentication because of which whoever has an address takes mutual TLS of the mesh and nothing else:
    a workload, or all of those behind a Service. None: somebody there takes what comes, or nobody is known."""
    found = list(_behind(world, ip, port))
    if not found or not all(modes.of(own) is MutualTLSMode.STRICT for modes, own in found):
        return None
    return next(iter(found[0][0].strict), None)


def _behind(world: World, ip: str, port: int) -> Iterator[tuple[PeerModes, int]]:
    """What the proxies behind an address demand, each with the port at which it is asked."""
    refs = world.by_address.get(ip, ())
    yield from ((_modes(world, world.workloads[ref], port), port) for ref in refs)
    if refs:
        return
    for service in world.services.values():
        called = service.port(port) if ip in service.addresses else None
        for end in world.endpoints.get(service.key, ()) if called is not None else ():
            if called is None or end.port_name != called.name:
                continue
            own = world.workloads.get(end.source) if end.source is not None else None
            yield (_modes(world, own, end.port) if own is not None else PeerModes()), end.port


def _modes(world: World, workload: Workload, port: int) -> PeerModes:
    """Nothing is demanded where no proxy stands before the port."""
    if dict(workload.labels).get(TLS_MODE) != TLS_ISTIO or left_alone(workload, port):
        return PeerModes()
    return peer_modes(world, workload.namespace, workload.labels)
