"""What a proxy enforces on what reaches its workload: who may call (AuthorizationPolicy), by what proof
(RequestAuthentication), and over which transport (PeerAuthentication)."""

from collections.abc import Iterable
from typing import Any, Literal

from tidegate.api.mesh import MeshConfig
from tidegate.api.objects import Object
from tidegate.api.security import Action, AuthorizationPolicy
from tidegate.envoy.inputs import SecurityInput
from tidegate.envoy.resource import Decision
from tidegate.envoy.security import authorizers, providers, rbac, tokens
from tidegate.envoy.security.rbac import Enforcement
from tidegate.registry.model import Labels
from tidegate.scope.policies import of_workload

__all__ = ["filters", "http_filters", "network_filters", "refusals"]


def http_filters(given: SecurityInput, *, routing: bool = False) -> list[Any]:
    """The HTTP filters, in Istio's order: external authorizers are asked first, then tokens are read, then rules
    that may speak of tokens are enforced. ``routing``: routes may ask for what tokens say."""
    where = Enforcement(given.trust_domains)
    custom, others = _parted(given.authorization)
    return [
        *authorizers.filters(custom, given.authorizers, where),
        *tokens.filters(given, routing=routing),
        *rbac.filters(others, where),
    ]


def network_filters(given: SecurityInput) -> list[Any]:
    """The network filters of connections that are not HTTP, in the same order."""
    where = Enforcement(given.trust_domains, tcp=True)
    custom, others = _parted(given.authorization)
    return [*authorizers.filters(custom, given.authorizers, where), *rbac.filters(others, where)]


def _parted(policies: rbac.Policies) -> tuple[rbac.Policies, rbac.Policies]:
    """CUSTOM policies, and the others."""
    custom = tuple(p for p in policies if p.spec.action is Action.CUSTOM)
    return custom, tuple(p for p in policies if p.spec.action is not Action.CUSTOM)


def refusals(given: SecurityInput) -> tuple[Decision, ...]:
    """What is refused for want of someone to ask: CUSTOM policies whose provider cannot be, and tokens without keys."""
    custom, _ = _parted(given.authorization)
    return (*authorizers.refusals(custom, given.authorizers), *tokens.refusals(given))


def filters(
    policies: Iterable[Object[AuthorizationPolicy]],
    workload: tuple[str, Labels],
    trust_domains: tuple[str, ...],
    mesh: MeshConfig,
    filter_type: Literal["http", "tcp"],
    custom_only: bool,
) -> list[Any]:
    """The filters that AuthorizationPolicies make for a workload: HttpFilter messages, or network filters for TCP.

    ``workload``: namespace and labels. ``trust_domains``: the local one, then its aliases. ``custom_only``: those of
    CUSTOM policies, else those of all others. The services of the mesh's authorizers are taken to exist.
    """
    where = Enforcement(trust_domains, tcp=filter_type == "tcp")
    found = of_workload(policies, mesh.root_namespace, *workload)
    custom, others = _parted(found)
    if custom_only:
        return authorizers.filters(custom, providers.of_mesh(mesh, custom), where)
    return rbac.filters(others, where)
