"""What of a world is enforced at one workload."""

from collections.abc import Iterator

from tidegate.api.objects import Object
from tidegate.api.security import Action, RequestAuthentication
from tidegate.envoy.inputs import SecurityInput
from tidegate.envoy.security import providers, tokens
from tidegate.kit import naming
from tidegate.registry.model import Labels, Service
from tidegate.scope import choice
from tidegate.scope.authentication import peer_modes
from tidegate.scope.egress import egress_listeners
from tidegate.scope.policies import holding
from tidegate.scope.proxy import ProxyKind
from tidegate.snapshot.world import World

AUTHORIZATION, AUTHENTICATION = "AuthorizationPolicy", "RequestAuthentication"


def gather(world: World, kind: ProxyKind, labels: Labels) -> SecurityInput:
    """The policies that hold for a workload of the kind's namespace, and what of the mesh they speak of."""
    authorization = holding(world, AUTHORIZATION, kind.namespace, labels)
    authentication = holding(world, AUTHENTICATION, kind.namespace, labels)
    custom = tuple(p for p in authorization if p.spec.action is Action.CUSTOM)
    reach = _Reach(world, kind, labels)
    return SecurityInput(
        authorization=authorization,
        authentication=authentication,
        peers=peer_modes(world, kind.namespace, labels),
        authorizers=providers.of_mesh(world.mesh, custom, reach.problem),
        trust_domains=_trust_domains(world) if authorization else (),
        key_services=tuple(_key_services(authentication, reach)),
        hosts=tuple(sorted(reach.asked)),
    )


def _trust_domains(world: World) -> tuple[str, ...]:
    return (world.mesh.trust_domain, *world.mesh.trust_domain_aliases)


def _key_services(policies: tuple[Object[RequestAuthentication], ...], reach: "_Reach") -> Iterator[tuple[str, str]]:
    uris = dict.fromkeys(rule.jwks_uri for _, _, rule in tokens.rules_of(policies) if rule.jwks_uri and not rule.jwks)
    for uri in uris:
        server = tokens.key_server(uri)
        if not reach.problem("", server.host, server.port):
            yield uri, naming.outbound_cluster(server.port, "", server.host)


class _Reach:
    """The services that a proxy has clusters for; remembers which hosts were asked about."""

    def __init__(self, world: World, kind: ProxyKind, labels: Labels) -> None:
        self.world, self.kind, self.labels = world, kind, labels
        self.asked: set[str] = set()

    def problem(self, namespace: str, host: str, port: int) -> str:
        """Why the proxy has no cluster for a service's port; "" when it has one."""
        self.asked.add(host)
        service = self._service(host)
        if service is None or namespace not in ("", service.namespace):
            return f"no service {host} is in the workload's scope"
        return "" if service.port(port) else f"service {host} has no port {port}"

    def _service(self, host: str) -> Service | None:
        sidecar = choice.sidecar(self.world, self.kind.namespace, self.labels)
        for listener in egress_listeners(sidecar, self.kind.namespace):
            found = choice.imported_service(self.world, self.kind, listener, host)
            if found is not None:
                return found[0]
        return None
