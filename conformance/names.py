"""The name table that proxies which answer DNS themselves get."""

from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

from conformance import difference
from conformance.suite import Json, Outcome, cases, judged
from tidegate.envoy import names
from tidegate.registry import topology
from tidegate.registry.model import (
    UNSPECIFIED,
    Endpoint,
    Health,
    Port,
    Protocol,
    Registry,
    Resolution,
    Service,
    ServiceKey,
    labels_of,
)
from tidegate.scope.proxy import ProxyKind

_RESOLUTIONS = {"Passthrough": Resolution.PASSTHROUGH, "ClientSide": Resolution.CLIENT_SIDE, "DNS": Resolution.DNS}


def judge(folder: Path) -> Iterator[Outcome]:
    return judged(cases(folder / "cases.json"), lambda c: str(c["name"]), _table)


def _table(case: Json) -> str:
    proxy = _proxy(case["proxy"])
    given = [(_service(each, proxy), _endpoints(each)) for each in case["services"]]
    table: dict[str, Any] = {}
    for _, group in groupby(sorted(given, key=lambda g: g[0].host), key=lambda g: g[0].host):
        known = list(group)
        found = names.of_host(
            [service for service, _ in known],
            lambda service, known=known: next(e for s, e in known if s is service),  # type: ignore[misc]
            proxy,
            multicluster_headless=case["multicluster_headless"],
        )
        table |= {name: told(info) for name, info in found}
    expected = {name: {**entry, "ips": sorted(entry["ips"])} for name, entry in case["table"].items()}
    return difference.of(expected, table)


def told(info: names.NameInfo) -> Json:
    """A name as the cases write it."""
    told = {"ips": sorted(info.ips), "registry": info.registry}
    return told | {k: v for k, v in (("shortname", info.shortname), ("namespace", info.namespace)) if v}


def _proxy(given: Json) -> ProxyKind:
    ips = given["ip_addresses"]
    return ProxyKind(
        namespace=given["dns_domain"].partition(".")[0],
        dns_domain=given["dns_domain"],
        network=given.get("network", ""),
        cluster_id=given.get("cluster", ""),
        ipv4=any(":" not in ip for ip in ips),
        ipv6=any(":" in ip for ip in ips),
        dns_capture=True,
    )


def _service(given: Json, proxy: ProxyKind) -> Service:
    own = (given.get("cluster_vips") or {}).get(proxy.cluster_id) or [given["default_address"]]
    return Service(
        key=ServiceKey(given["namespace"], given["hostname"]),
        registry=Registry(given["registry"]),
        resolution=_RESOLUTIONS[given["resolution"]],
        ports=tuple(Port(p["port"], p["name"], Protocol(p["protocol"])) for p in given["ports"]),
        addresses=tuple(address for address in own if address != UNSPECIFIED),
        auto_addresses=tuple(given[key] for key in ("auto_ipv4", "auto_ipv6") if given.get(key)),
        name=given["name"],
        publish_not_ready=given["publish_not_ready"],
    )


def _endpoints(given: Json) -> list[Endpoint]:
    return [
        Endpoint(
            address=address,
            port=each["port"],
            port_name=each["port_name"],
            labels=labels_of({topology.CLUSTER: each["cluster"]} if each["cluster"] else {}),
            network=each["network"],
            health=Health.HEALTHY if each["healthy"] else Health.UNHEALTHY,
            hostname=each["hostname"],
            subdomain=each["subdomain"],
        )
        for members in (given.get("endpoints") or {}).values()
        for each in members
        for address in each["addresses"]
    ]
