"""Real packets in network namespaces: mode by backend by family; what happens is what the packet walker says."""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest

from tests.packets.wire import PROXY, Wire, wire
from tidegate.capture.backend import Backend
from tidegate.capture.inforce import in_force, outgoing
from tidegate.capture.install import install, uninstall
from tidegate.capture.kernel import Kernel
from tidegate.rules.model import Family, RuleSet
from tidegate.rules.options import ALL, CaptureOptions, Surroundings
from tidegate.rules.walk import Packet, Walk, journey

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root for network namespaces"),
    pytest.mark.skipif(shutil.which("iptables-save") is None, reason="iptables is not installed"),
    pytest.mark.skipif(shutil.which("nft") is None, reason="nft is not installed"),
]

APPLICATION = (1000, 1000)
PROXY_USER, PROXY_GROUP = (PROXY, PROXY), (1000, PROXY)
CHURN = 50_000
CELLS = [
    (mode, backend, family)
    for mode in ("REDIRECT", "TPROXY")
    for backend in ("iptables", "nftables")
    for family in ("ipv4", "ipv6")
]


@dataclass(frozen=True)
class Cell:
    """One cell of the matrix, with its rules in force."""

    mode: str
    backend: Backend
    family: Family
    wire: Wire
    options: CaptureOptions
    surroundings: Surroundings

    @property
    def kernel(self) -> Kernel:
        return Kernel(netns=self.wire.pod)

    def rules(self) -> RuleSet:
        return in_force(self.kernel)[self.family]

    def apply(self, **changed: Any) -> bool:
        options = msgspec.structs.replace(self.options, **changed)
        return install(options, self.surroundings, self.kernel, self.backend).changed


@pytest.fixture(scope="module", params=CELLS, ids="-".join)
def cell(request: pytest.FixtureRequest) -> Iterator[Cell]:
    mode, backend, family = request.param
    with wire(family, tproxy=mode == "TPROXY") as made:
        options = CaptureOptions(
            inbound_interception_mode=mode,
            inbound_ports=ALL,
            local_exclude_ports=("9082", "15020", "15021", "15090"),
            service_cidr=ALL,
            service_exclude_cidr=(made.places.excluded_range,),
            local_outbound_ports_exclude=("9083",),
            redirect_dns=True,
            capture_all_dns=True,
        )
        found = Cell(mode, backend, family, made, options, Surroundings(ipv6=family == "ipv6"))
        assert found.apply()
        yield found
        uninstall(options, found.surroundings, found.kernel)


@dataclass(frozen=True)
class Probe:
    """One connection of a process of the workload, and the port at which it must end."""

    owner: tuple[int, int]
    to: str
    port: int
    ends_at: int
    source: str = ""
    protocol: str = "tcp"


OUTBOUND = {
    "to the mesh": Probe(APPLICATION, "other", 9080, 15001),
    "to a service address, the workload's own too": Probe(APPLICATION, "service", 80, 15001),
    "to the outside": Probe(APPLICATION, "outside", 443, 15001),
    "to an excluded range": Probe(APPLICATION, "excluded", 9080, 9080),
    "to an excluded port": Probe(APPLICATION, "other", 9083, 9083),
    "by the proxy's user": Probe(PROXY_USER, "other", 9080, 9080),
    "by the proxy's group": Probe(PROXY_GROUP, "other", 9080, 9080),
    "by the proxy to its own workload": Probe(PROXY_USER, "pod", 9080, 15006),
    "by the proxy as it passes an inbound connection": Probe(PROXY_USER, "pod", 9080, 9080, "passthrough"),
    "to its own address": Probe(APPLICATION, "pod", 9080, 9080),
    "to localhost": Probe(APPLICATION, "loopback", 9080, 9080),
    "a lookup over UDP": Probe(APPLICATION, "resolver", 53, 15053, protocol="udp"),
    "a lookup over TCP": Probe(APPLICATION, "resolver", 53, 15053),
    "a lookup over UDP to localhost": Probe(APPLICATION, "loopback", 53, 15053, protocol="udp"),
    "a lookup of the proxy's own": Probe(PROXY_USER, "resolver", 53, 53, protocol="udp"),
}


def nat_counters(rules: RuleSet) -> dict[tuple[str, str, int], int]:
    """Connections by rule: nat looks at the first packet of each."""
    found = {}
    for table in rules.tables:
        if table.name == "nat" or any(base.kind == "nat" for base in table.bases):
            for chain, held in table.contents().items():
                for number, rule in enumerate(held, 1):
                    found[table.name, chain, number] = rule.counters[0] if rule.counters else 0
    return found


def moved(before: RuleSet, after: RuleSet) -> set[tuple[str, str, int]]:
    earlier = nat_counters(before)
    return {place for place, packets in nat_counters(after).items() if packets != earlier[place]}


def met(found: Walk) -> set[tuple[str, str, int]]:
    return {(v.table, v.chain, v.number) for v in found.visits if v.matched and v.role == "nat"}


def ends_at(found: Walk, port: int) -> int:
    return found.to_port if found.verdict in ("redirect", "tproxy") else port


@pytest.mark.parametrize("name", OUTBOUND)
def test_what_a_process_sends(cell: Cell, name: str) -> None:
    probe, places = OUTBOUND[name], cell.wire.places
    host = getattr(places, probe.to)
    source = getattr(places, probe.source) if probe.source else ""
    before = cell.rules()
    uid, gid = probe.owner
    given = {"act": "once", "host": host, "port": probe.port, "source": source, "protocol": probe.protocol}
    said = cell.wire.inside.ask({**given, "uid": uid, "gid": gid})
    packet = Packet(host, probe.port, probe.protocol, source, uid=uid, gid=gid)
    found = journey(before, outgoing(cell.kernel, packet))
    assert not found.undecided
    assert said.get("port") == probe.ends_at == ends_at(found, probe.port), said
    # a connection to 15006 is handed on by a second one, which rules count too
    counted = moved(before, cell.rules())
    assert met(found) == counted or (probe.ends_at == 15006 and met(found) < counted)
    if probe.ends_at in (15001, 15006):
        assert said["original"] == [host, probe.port]
    if probe.source:
        assert said["peer"] == source
    if probe.ends_at == probe.port and probe.protocol == "tcp":
        assert said["peer"] == said["own"][0], "what is left alone keeps its source"


@pytest.mark.parametrize("port", [9080, 9082, 15008, 15020, 15021, 15090])
def test_what_another_host_sends(cell: Cell, port: int) -> None:
    """Health probes and metrics go to their own ports, the application's to Envoy, with the source that it must see."""
    places = cell.wire.places
    before = cell.rules()
    packet = Packet(places.pod, port, source=places.other, in_interface="eth0", local=True)
    found = journey(before, packet, inbound=True)
    given = {"act": "once", "host": places.pod, "port": port, "source": places.other, "uid": 0, "gid": 0}
    said = cell.wire.outside.ask(given)
    assert not found.undecided
    captured = port == 9080 or (port == 15008 and cell.mode == "TPROXY")
    assert said.get("port") == ends_at(found, port) == (15006 if captured else port), said
    assert met(found) <= moved(before, cell.rules())
    assert said["peer"] == places.other
    if captured:
        assert said["original"] == [places.pod, port]
        expected = places.other if cell.mode == "TPROXY" else places.passthrough
        assert said["application"] == {"port": port, "original": [places.pod, port], "peer": expected}
        assert found.verdict == ("tproxy" if cell.mode == "TPROXY" else "redirect")


def test_connections_outlive_rules_that_are_applied_again(cell: Cell) -> None:
    places = cell.wire.places
    calls = [
        (cell.wire.inside, "out", places.other, 9080, 15001),
        (cell.wire.inside, "left alone", places.excluded, 9080, 9080),
        (cell.wire.outside, "in", places.pod, 9080, 15006),
        (cell.wire.outside, "probe", places.pod, 15021, 15021),
    ]
    for caller, name, host, port, ended in calls:
        name = f"{name} {cell.wire.pod} {cell.mode} {cell.backend} {cell.family}"
        assert caller.ask({"act": "hold", "name": name, "host": host, "port": port})["port"] == ended
    try:
        assert not cell.apply()
        for changed in ({"outbound_ports": ("7",)}, {}):
            assert cell.apply(**changed)
            for caller, name, *_ in calls:
                name = f"{name} {cell.wire.pod} {cell.mode} {cell.backend} {cell.family}"
                assert caller.ask({"act": "ping", "name": name}) == {"said": "still there"}
    finally:
        cell.apply()


def test_none_of_many_short_connections_goes_around_the_proxy(cell: Cell) -> None:
    """50,000 in each cell of the matrix."""
    places, count = cell.wire.places, CHURN
    targets = [(places.other, 9080), (places.service, 80), (places.outside, 443), (places.other, 443)]
    before, others = cell.wire.proxy.ask(), cell.wire.others.ask()
    assert cell.wire.inside.ask({"act": "churn", "count": count, "places": targets}) == {"failed": 0}
    after = cell.wire.proxy.ask()
    taken = {key: after[key] - before.get(key, 0) for key in after if after[key] != before.get(key, 0)}
    assert sum(taken.values()) == count
    assert set(taken) == {f"15001 {host} {port}" for host, port in targets}
    assert cell.wire.others.ask() == others, "nothing came to the other host"
