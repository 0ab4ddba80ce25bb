"""Answers of the lab's name servers: Services' names, and outside records. Pure: query and tables in, answer out."""

from collections.abc import Iterable, Mapping
from typing import Any

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset
import msgspec

Json = Mapping[str, Any]
TTL = 5
_LABEL_SERVICE = "kubernetes.io/service-name"


class Table(msgspec.Struct, frozen=True):
    """Names without the last dot, in lower case."""

    addresses: Mapping[str, tuple[str, ...]] = {}
    aliases: Mapping[str, str] = {}


def service_table(services: Iterable[Json], slices: Iterable[Json], domain: str) -> Table:
    """What Kubernetes' DNS specification gives each Service: its cluster IP, or its ready endpoints if headless."""
    endpoints = _endpoints(slices)
    addresses: dict[str, tuple[str, ...]] = {}
    aliases: dict[str, str] = {}
    for service in services:
        meta, spec = service["metadata"], service.get("spec") or {}
        name = f"{meta['name']}.{meta['namespace']}.svc.{domain}".lower()
        if spec.get("type") == "ExternalName":
            aliases[name] = str(spec.get("externalName", "")).rstrip(".").lower()
        elif spec.get("clusterIP") == "None":
            found = endpoints.get((meta["namespace"], meta["name"]), ())
            addresses[name] = tuple(sorted({address for _, address in found}))
            for hostname, address in found:
                if hostname:
                    addresses[f"{hostname}.{name}".lower()] = (address,)
        elif spec.get("clusterIP"):
            addresses[name] = (str(spec["clusterIP"]),)
    return Table(addresses, aliases)


def _endpoints(slices: Iterable[Json]) -> dict[tuple[str, str], tuple[tuple[str, str], ...]]:
    """(namespace, Service) -> (hostname, address) of its ready IPv4 endpoints."""
    found: dict[tuple[str, str], tuple[tuple[str, str], ...]] = {}
    for item in slices:
        meta = item["metadata"]
        key = (meta["namespace"], (meta.get("labels") or {}).get(_LABEL_SERVICE, ""))
        if item.get("addressType", "IPv4") != "IPv4":
            continue
        for endpoint in item.get("endpoints") or ():
            if (endpoint.get("conditions") or {}).get("ready", True) is not False:
                hostname = endpoint.get("hostname") or ""
                found[key] = (*found.get(key, ()), *((hostname, a) for a in endpoint.get("addresses") or ()))
    return found


def answer(query: dns.message.Message, table: Table, zone: str) -> dns.message.Message | None:
    """The answer to one question; None when its name is not below ``zone`` ("": every name is).

    A known name without an address of the asked type is NOERROR and empty, never NXDOMAIN (RFC 2308): musl takes
    NXDOMAIN of either type for both.
    """
    if len(query.question) != 1:
        return _reply(query, dns.rcode.FORMERR)
    question = query.question[0]
    name = question.name.to_text(omit_final_dot=True).lower()
    if zone and name != zone and not name.endswith(f".{zone}"):
        return None
    if name in table.aliases:
        return _with(query, "CNAME", (table.aliases[name] + ".",))
    if name not in table.addresses:
        return _reply(query, dns.rcode.NOERROR if _has_names_below(name, table) else dns.rcode.NXDOMAIN)
    asked = question.rdclass == dns.rdataclass.IN and question.rdtype in (dns.rdatatype.A, dns.rdatatype.ANY)
    return _with(query, "A", table.addresses[name]) if asked else _reply(query, dns.rcode.NOERROR)


def refusal(query: dns.message.Message, code: dns.rcode.Rcode) -> dns.message.Message:
    """An answer without records."""
    return _reply(query, code)


def _has_names_below(name: str, table: Table) -> bool:
    return any(known.endswith(f".{name}") for known in (*table.addresses, *table.aliases))


def _reply(query: dns.message.Message, code: dns.rcode.Rcode) -> dns.message.Message:
    reply = dns.message.make_response(query, recursion_available=True)
    reply.set_rcode(code)
    return reply


def _with(query: dns.message.Message, kind: str, values: tuple[str, ...]) -> dns.message.Message:
    reply = _reply(query, dns.rcode.NOERROR)
    reply.flags |= dns.flags.AA
    if values:
        reply.answer.append(dns.rrset.from_text(query.question[0].name, TTL, "IN", kind, *values))
    return reply
