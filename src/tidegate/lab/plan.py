"""From a lab file to what has to exist: namespaces, links, addresses and folders. Pure."""

import ipaddress
from collections.abc import Iterable

import msgspec

from tidegate.lab.checks import free_addresses
from tidegate.lab.spec import Command, LabSpec, Workload

PREFIX = "tg-"
DNS_MEMBER = "dns"


class Member(msgspec.Struct, frozen=True):
    """A namespace that is joined to the lab's bridge."""

    key: str
    """``<name>.<namespace>`` of a workload, ``<name>`` of a host."""
    netns: str
    link: str
    """Its link's end at the bridge."""
    address: str
    prefix_length: int
    """The workloads' network's for a workload, 32 for a machine outside."""


class Plan(msgspec.Struct, frozen=True):
    spec: LabSpec
    base: str
    """The folder of lab.yaml, from which its paths count."""
    net: str
    """The namespace of bridge and gateway."""
    gateway: str
    workloads: tuple[tuple[Workload, Member], ...]
    hosts: tuple[tuple[str, tuple[Command, ...], Member], ...]
    dns: Member | None

    @property
    def members(self) -> tuple[Member, ...]:
        outside = () if self.dns is None else (self.dns,)
        return tuple(m for _, m in self.workloads) + tuple(m for _, _, m in self.hosts) + outside

    def with_workloads(self, further: Iterable[tuple[Workload, Member]]) -> "Plan":
        """The plan with workloads that came later."""
        return msgspec.structs.replace(self, workloads=(*self.workloads, *further))

    @property
    def proxies(self) -> tuple[str, ...]:
        """``<name>.<namespace>`` of the workloads with a sidecar, and of gateways."""
        return tuple(workload.key for workload, _ in self.workloads if workload.proxied)

    @property
    def namespaces(self) -> tuple[str, ...]:
        return (self.net, *(member.netns for member in self.members))

    @property
    def outside_records(self) -> dict[str, tuple[str, ...]]:
        """What the outside name server answers: hosts' names and the extra records."""
        records = dict(self.spec.dns.records) if self.spec.dns else {}
        for host in self.spec.hosts:
            for name in host.dns:
                records[name] = (*records.get(name, ()), host.address)
        return records


def netns_prefix(lab: str) -> str:
    """What the names of a lab's namespaces begin with; lab names hold no '-', so no other lab's begin so."""
    return f"{PREFIX}{lab}-"


def make_plan(spec: LabSpec, base: str) -> Plan:
    """Name every namespace and link and give each workload its address; equal files give equal plans."""
    network = ipaddress.ip_network(spec.network.cidr, strict=False)
    prefix = netns_prefix(spec.name)
    taken = [w.address for w in spec.workloads] + [h.address for h in spec.hosts]
    free = free_addresses(spec.network.cidr, taken + ([spec.dns.address] if spec.dns else []))
    workloads = tuple(
        (w, Member(w.key, f"{prefix}{w.key}", f"w{index}", w.address or next(free), network.prefixlen))
        for index, w in enumerate(spec.workloads)
    )
    hosts = tuple(
        (h.name, h.commands, Member(h.name, f"{prefix}{h.name}", f"h{index}", h.address, 32))
        for index, h in enumerate(spec.hosts)
    )
    dns = Member(DNS_MEMBER, f"{prefix}dns", "dns", spec.dns.address, 32) if spec.dns else None
    return Plan(spec, base, f"{prefix}net", str(network[1]), workloads, hosts, dns)
