"""Who serves a host, as far as mutual TLS asks: by which names, and whether everybody takes it."""

from collections.abc import Iterable

from tidegate.envoy.inputs import ClusterDefaults
from tidegate.registry.model import Endpoint, Service
from tidegate.scope.authentication import TLS_ISTIO


def accounts(service: Service, endpoints: Iterable[Endpoint], defaults: ClusterDefaults) -> tuple[str, ...]:
    """Names of whoever serves a host, on any port: what it says itself, and its endpoints' service accounts."""
    domains = (defaults.trust_domain, *defaults.trust_domain_aliases)
    spaces = {(e.workload_namespace or service.namespace, e.service_account) for e in endpoints}
    found = {f"spiffe://{domain}/ns/{space}/sa/{name}" for space, name in spaces if name for domain in domains}
    return tuple(sorted(found | set(service.subject_alt_names)))


def partly_meshed(endpoints: tuple[Endpoint, ...]) -> bool:
    """Whether what connects to endpoints that it did not choose does so in plain text: unless each of them takes mutual
    TLS."""
    return not endpoints or any(e.tls_mode != TLS_ISTIO for e in endpoints)
