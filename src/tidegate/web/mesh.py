"""The control plane's answers as the pages show them."""

from collections.abc import Iterable, Sequence
from typing import TypeVar

import msgspec

from tidegate.kit.errors import TidegateError
from tidegate.xds.types import CLUSTER, ENDPOINT, LISTENER, ROUTE, short

TYPES = (CLUSTER, LISTENER, ROUTE, ENDPOINT)
"""The columns of the proxies' table."""

T = TypeVar("T")


class Answer(msgspec.Struct, frozen=True, rename="camel"):
    """Base of parts of the control plane's JSON."""


class Quarantined(Answer, frozen=True):
    name: str
    error: str = ""
    origins: tuple[str, ...] = ()


class Resource(Answer, frozen=True):
    """One type of resource of one proxy."""

    state: str = ""
    last_error: str = ""
    sent_time: str = ""
    quarantined: tuple[Quarantined, ...] = ()


class Proxy(msgspec.Struct, frozen=True):
    """One row of /debug/syncz."""

    proxy: str
    cluster_id: str = ""
    istio_version: str = ""
    resources: dict[str, Resource] = {}

    def state(self, type_url: str) -> str:
        """ "" for a type that the proxy did not ask for."""
        found = self.resources.get(type_url)
        return found.state if found else ""


class Port(Answer, frozen=True):
    number: int
    name: str = ""
    protocol: str = ""

    def __str__(self) -> str:
        return f"{self.number} {self.protocol or 'detected'}"


class Service(Answer, frozen=True):
    """One host of /debug/registryz."""

    host: str
    namespace: str = ""
    registry: str = ""
    resolution: str = ""
    ports: tuple[Port, ...] = ()
    addresses: tuple[str, ...] = ()
    endpoints: int = 0
    sources: tuple[str, ...] = ()
    virtual_services: tuple[str, ...] = ()
    destination_rules: tuple[str, ...] = ()


class Problem(Answer, frozen=True):
    object: str
    reasons: tuple[str, ...] = ()


class Registry(Answer, frozen=True):
    total: int = 0
    services: tuple[Service, ...] = ()
    problems: tuple[Problem, ...] = ()


class Row(msgspec.Struct, frozen=True):
    """A proxy in the table, connected or only known by its agent's socket."""

    name: str
    states: tuple[str, ...]
    version: str = ""
    cluster: str = ""
    here: bool = False
    """Whether its Envoy can be asked on this machine."""
    connected: bool = True


class Refused(msgspec.Struct, frozen=True):
    """A resource that a proxy refused, with the objects it was made from."""

    proxy: str
    type: str
    name: str
    error: str
    origins: tuple[str, ...] = ()


def proxies(text: bytes) -> list[Proxy]:
    return _read(text, list[Proxy], "/debug/syncz")


def registry(text: bytes) -> Registry:
    return _read(text, Registry, "/debug/registryz")


def _read(text: bytes, kind: type[T], path: str) -> T:
    try:
        return msgspec.json.decode(text, type=kind)
    except (msgspec.DecodeError, RecursionError) as error:
        raise TidegateError(f"the control plane's answer to {path} cannot be read: {error}") from None


def proxy_rows(connected: Iterable[Proxy], here: Sequence[str]) -> list[Row]:
    """Every proxy that is connected to the control plane, and those of this machine that are not."""
    rows = [
        Row(p.proxy, tuple(p.state(t) for t in TYPES), p.istio_version, p.cluster_id, p.proxy in here)
        for p in connected
    ]
    known = {row.name for row in rows}
    rows += [Row(name, ("",) * len(TYPES), here=True, connected=False) for name in here if name not in known]
    return sorted(rows, key=lambda row: row.name)


def refused(connected: Iterable[Proxy]) -> list[Refused]:
    found = []
    for proxy in connected:
        for type_url, resource in proxy.resources.items():
            word = short(type_url).upper()
            found += [Refused(proxy.proxy, word, q.name, q.error, q.origins) for q in resource.quarantined]
            if resource.last_error and not resource.quarantined:
                found.append(Refused(proxy.proxy, word, "", resource.last_error))
    return sorted(found, key=lambda each: (each.proxy, each.type, each.name))


HEADINGS = tuple(short(each).upper() for each in TYPES)
