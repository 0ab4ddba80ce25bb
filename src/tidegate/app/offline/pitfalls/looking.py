"""What the checks share: a finding before it has a place, and the world as a namespace sees it."""

from collections.abc import Iterator

from tidegate.api.networking import DestinationRule
from tidegate.api.objects import Object, Ref
from tidegate.registry.model import Registry, Service
from tidegate.scope import choice
from tidegate.scope.proxy import ProxyKind
from tidegate.snapshot.world import World

Pitfall = tuple[Ref, str, str]
"""The object, the field ("" for the whole) and what is likely wrong, in words."""


def kind(world: World, namespace: str) -> ProxyKind:
    """A client of a namespace of which nothing else is known."""
    return ProxyKind(namespace=namespace, dns_domain=f"{namespace}.svc.{world.domain}")


def seen(world: World, namespace: str, host: str) -> Service | None:
    """The definition of a host that clients of a namespace use."""
    return next(iter(choice.service_candidates(world, kind(world, namespace), host)), None)


def rule_for(world: World, namespace: str, service: Service) -> Object[DestinationRule] | None:
    return choice.destination_rule(world, kind(world, namespace), service)


def declared(world: World) -> Iterator[tuple[Service, Ref]]:
    """Every service that an object declares, with that object."""
    return ((service, service.sources[0]) for service in world.services.values() if service.sources)


def namesakes(world: World, host: str) -> list[str]:
    """Kubernetes Services of other namespaces that are called as a host's first label: what was meant, perhaps."""
    short = host.partition(".")[0]
    return sorted(
        service.host
        for service in world.services.values()
        if service.registry is Registry.KUBERNETES and service.name == short and service.host != host
    )


def in_cluster(world: World, host: str) -> bool:
    return host.endswith(f".svc.{world.domain}")
