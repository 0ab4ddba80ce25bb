"""Principals of the mesh's trust domain hold for its aliases too, and for the word ``cluster.local``.

https://istio.io/latest/docs/tasks/security/authorization/authz-td-migration/
"""

from collections.abc import Iterable, Iterator

LOCAL = "cluster.local"
"""Stands for the mesh's trust domain, whatever that is called."""
_PARTS = 5
"""Of a principal that names a trust domain: ``td/ns/namespace/sa/account``."""


def migrated(principals: Iterable[str], domains: tuple[str, ...]) -> tuple[str, ...]:
    """The principals, each that names one of ``domains`` (the local one, then its aliases) written for all of them.

    A wildcard that takes in a domain stays for it as it is.
    """
    if not domains:
        return tuple(principals)
    return tuple(each for principal in principals for each in _written(principal, domains))


def _written(principal: str, domains: tuple[str, ...]) -> Iterator[str]:
    named, _, rest = principal.partition("/")
    ours = named == LOCAL or any(_covers(named, domain) for domain in domains)
    if principal.count("/") != _PARTS - 1 or not ours:
        yield principal
        return
    wild = named.startswith("*")
    yield from dict.fromkeys(principal if wild and _covers(named, d) else f"{d}/{rest}" for d in domains)


def _covers(pattern: str, domain: str) -> bool:
    if pattern.startswith("*"):
        return domain.endswith(pattern[1:])
    return domain.startswith(pattern[:-1]) if pattern.endswith("*") else pattern == domain
