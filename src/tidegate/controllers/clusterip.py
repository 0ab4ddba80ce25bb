"""Cluster IPs: every Service that can have one gets one of its own, and keeps it."""

import hashlib
from collections.abc import Container, Iterable
from ipaddress import IPv4Network, ip_address

from tidegate.kit.errors import FieldError, InvalidObjectError
from tidegate.store.model import Json

BLOCK = "10.96.0.0/16"
_RESERVED = 2
"""The network's own address and the first one, which Kubernetes keeps for its API."""


def assign(service: Json, taken: Container[str], *, block: str = BLOCK) -> Json:
    """``service`` with a cluster IP from ``block`` that is not in ``taken``.

    A wanted address is honoured; headless ("None") and ExternalName Services get none. Where to look first follows
    from namespace and name, so that a Service that is made again finds its old address when that is free.
    Raises InvalidObjectError when the wanted address is taken or out of range, or none is left.
    """
    spec = service.get("spec") or {}
    if spec.get("type") == "ExternalName":
        _refuse_wanted(service, spec)
        return service
    wanted = _wanted(service, spec)
    if wanted == "None":
        return {**service, "spec": {**spec, "clusterIP": "None", "clusterIPs": ["None"]}}
    if wanted:
        _check(service, wanted, taken, IPv4Network(block))
    address = wanted or _next_free(service, taken, IPv4Network(block))
    families = {"ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack"}
    return {**service, "spec": {**families, **spec, "clusterIP": address, "clusterIPs": [address]}}


def _wanted(service: Json, spec: Json) -> str:
    listed = [a for a in spec.get("clusterIPs") or () if a]
    wanted = str(spec.get("clusterIP") or (listed[0] if listed else ""))
    if listed and listed != [wanted]:
        raise _error(service, "spec.clusterIPs", "must hold the one address of spec.clusterIP", listed)
    return wanted


def _refuse_wanted(service: Json, spec: Json) -> None:
    for field in ("clusterIP", "clusterIPs"):
        if spec.get(field):
            raise _error(service, f"spec.{field}", "must be empty: an ExternalName Service has no address", spec[field])


def _check(service: Json, wanted: str, taken: Container[str], block: IPv4Network) -> None:
    try:
        inside = ip_address(wanted) in block
    except ValueError as error:
        raise _error(service, "spec.clusterIP", f'must be empty, "None", or an address of {block}', wanted) from error
    if not inside:
        raise _error(service, "spec.clusterIP", f"must be an address of the service range {block}", wanted)
    if wanted in taken:
        raise _error(service, "spec.clusterIP", "is another Service's: choose a free address, or none", wanted)


def _next_free(service: Json, taken: Container[str], block: IPv4Network) -> str:
    meta = service["metadata"]
    size = block.num_addresses - _RESERVED - 1
    name = f"{meta.get('namespace', '')}/{meta.get('name', '')}".encode()
    start = int.from_bytes(hashlib.blake2b(name, digest_size=8).digest())
    for step in range(size):
        address = str(block[_RESERVED + (start + step) % size])
        if address not in taken:
            return address
    raise _error(service, "spec.clusterIP", f"no address of {block} is free: delete Services that are not needed", None)


def _error(service: Json, path: str, message: str, value: object) -> InvalidObjectError:
    meta = service["metadata"]
    error = FieldError(path, message, value)
    return InvalidObjectError("Service", meta.get("namespace", ""), meta.get("name", ""), (error,))


class ClusterIPs:
    """The addresses in use, as the store's mutating hook.

    The hook runs inside of the write, so two writes never get one address. An address that was given to a write which
    failed later stays reserved for a Service of that name.
    """

    def __init__(self, services: Iterable[Json] = (), *, block: str = BLOCK) -> None:
        self._block = block
        self._owners: dict[str, tuple[str, str]] = {}
        for service in services:
            self._note(service)

    def __call__(self, verb: str, obj: Json, old: Json | None) -> Json:
        """Verb "create", "update" or "delete"; other kinds than Service pass through."""
        if obj.get("kind") != "Service":
            return obj
        if verb == "delete":
            self._forget(obj)
            return obj
        made = self._assigned(_kept(obj, old) if old is not None else obj)
        if old is not None and _address(made) != _address(old):
            self._forget(old)
        self._note(made)
        return made

    def _assigned(self, service: Json) -> Json:
        others = (
            {a for a, owner in self._owners.items() if owner != _key(service)} if _address(service) else self._owners
        )
        return assign(service, others, block=self._block)

    def _note(self, service: Json) -> None:
        if address := _address(service):
            self._owners[address] = _key(service)

    def _forget(self, service: Json) -> None:
        if self._owners.get(_address(service)) == _key(service):
            del self._owners[_address(service)]


def _kept(service: Json, old: Json) -> Json:
    """An update that leaves the address out keeps it; one that changes it is refused, as Kubernetes does."""
    spec, had = service.get("spec") or {}, old.get("spec") or {}
    if spec.get("type") == "ExternalName" and spec.get("clusterIP") == had.get("clusterIP"):
        return {**service, "spec": {k: v for k, v in spec.items() if k not in ("clusterIP", "clusterIPs")}}
    if spec.get("type") == "ExternalName" or had.get("type") == "ExternalName" or not had.get("clusterIP"):
        return service
    wanted = _wanted(service, spec)
    if wanted and wanted != had["clusterIP"]:
        raise _error(service, "spec.clusterIP", f"cannot change from {had['clusterIP']}: make the Service anew", wanted)
    return {**service, "spec": {**spec, "clusterIP": had["clusterIP"], "clusterIPs": [had["clusterIP"]]}}


def _address(service: Json) -> str:
    address = str((service.get("spec") or {}).get("clusterIP") or "")
    return "" if address == "None" else address


def _key(service: Json) -> tuple[str, str]:
    return str(service["metadata"].get("namespace", "")), str(service["metadata"].get("name", ""))
