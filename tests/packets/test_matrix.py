"""Real packets and a real Envoy in network namespaces: mode by backend by family.

What becomes of each connection is what the packet walker says of it, and what its far side and Envoy's log show.
"""

import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest

from tests.packets.sidecar import Sidecar, sidecar, until
from tests.packets.wire import ANSWER_SECONDS, NAME, PROXY, UNDECLARED, Wire, wire
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
BACKENDS: tuple[Backend, ...] = ("iptables", "nftables")
STAGES: list[tuple[str, Family]] = [(mode, family) for mode in ("REDIRECT", "TPROXY") for family in ("ipv4", "ipv6")]


@dataclass(frozen=True)
class Stage:
    """A workload with its sidecar, whose packet rules come and go."""

    mode: Any
    family: Family
    wire: Wire
    sidecar: Sidecar


@pytest.fixture(scope="module", params=STAGES, ids="-".join)
def stage(request: pytest.FixtureRequest) -> Iterator[Stage]:
    mode, family = request.param
    with wire(family) as made, sidecar(made, mode) as running:
        yield Stage(mode, family, made, running)


@dataclass(frozen=True)
class Cell:
    """One cell of the matrix, with its rules in force."""

    stage: Stage
    backend: Backend
    options: CaptureOptions
    surroundings: Surroundings

    @property
    def wire(self) -> Wire:
        return self.stage.wire

    @property
    def kernel(self) -> Kernel:
        return Kernel(netns=self.wire.pod)

    @property
    def handed_on_from(self) -> str:
        """Where the application sees a connection of another host's come from."""
        return self.wire.places.other if self.stage.mode == "TPROXY" else self.wire.places.passthrough

    @property
    def handed_on_from_itself(self) -> str:
        """The same of a connection of its own."""
        return self.wire.places.pod if self.stage.mode == "TPROXY" else self.wire.places.passthrough

    def rules(self) -> RuleSet:
        return in_force(self.kernel)[self.stage.family]

    def apply(self, backend: Backend | None = None, **changed: Any) -> bool:
        options = msgspec.structs.replace(self.options, **changed)
        return install(options, self.surroundings, self.kernel, backend or self.backend).changed


@pytest.fixture(scope="module", params=BACKENDS)
def cell(stage: Stage, request: pytest.FixtureRequest) -> Iterator[Cell]:
    options = CaptureOptions(
        inbound_interception_mode=stage.mode,
        inbound_ports=ALL,
        local_exclude_ports=("9082", "15020", "15021", "15090"),
        service_cidr=ALL,
        service_exclude_cidr=(stage.wire.places.excluded_range,),
        local_outbound_ports_exclude=("9083",),
        redirect_dns=True,
        capture_all_dns=True,
    )
    found = Cell(stage, request.param, options, Surroundings(ipv6=stage.family == "ipv6"))
    assert found.apply()
    yield found
    uninstall(options, found.surroundings, found.kernel)


@dataclass(frozen=True)
class Probe:
    """One connection of a process of the workload, who answers it, and by which cluster of Envoy's it went there.

    No cluster: it went around Envoy, and the far side sees where it really came from.
    """

    owner: tuple[int, int]
    to: str
    port: int
    answered: tuple[str, int]
    cluster: str = ""
    source: str = ""

    @property
    def ends_at(self) -> int:
        """The port to which the rules send it."""
        if not self.cluster:
            return self.port
        return 15006 if self.cluster.startswith(("inbound|", "Inbound")) else 15001


MESH, OWN = "outbound|80||web.shop.svc.cluster.local", "outbound|80||app.shop.svc.cluster.local"
ITSELF = ("application", 9080)
OUTBOUND = {
    "to a service": Probe(APPLICATION, "service", 80, ("other", 9080), MESH),
    "to a workload": Probe(APPLICATION, "other", 9080, ("other", 9080), "PassthroughCluster"),
    "to the outside": Probe(APPLICATION, "outside", 443, ("other", 443), "PassthroughCluster"),
    "to an excluded range": Probe(APPLICATION, "excluded", 9080, ("other", 9080)),
    "to an excluded port": Probe(APPLICATION, "other", 9083, ("other", 9083)),
    "by the proxy's user": Probe(PROXY_USER, "other", 9080, ("other", 9080)),
    "by the proxy's group": Probe(PROXY_GROUP, "other", 9080, ("other", 9080)),
    "by the proxy to its own workload": Probe(PROXY_USER, "pod", 9080, ITSELF, "inbound|9080||"),
    "by the proxy as it passes an inbound one": Probe(PROXY_USER, "pod", 9080, ITSELF, source="passthrough"),
    "to itself by a service address": Probe(APPLICATION, "own_service", 80, ITSELF, OWN),
    "to its own address": Probe(APPLICATION, "pod", 9080, ITSELF),
    "to localhost": Probe(APPLICATION, "loopback", 9080, ITSELF),
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


def asked(cell: Cell, owner: tuple[int, int], host: str, port: int, **more: Any) -> tuple[Any, Walk, bool]:
    """What a process of the workload is told, what the walker says, and whether the rules that it names counted."""
    cell.stage.sidecar.watch()
    before = cell.rules()
    packet = Packet(host, port, "udp" if "udp" in more.get("speaks", "") else "tcp", more.get("source", ""))
    packet = msgspec.structs.replace(packet, uid=owner[0], gid=owner[1])
    found = journey(before, outgoing(cell.kernel, packet))
    assert not found.undecided
    said = cell.wire.inside.ask({"act": "once", "host": host, "port": port, "uid": owner[0], "gid": owner[1], **more})
    assert "error" not in said, said
    counted = moved(before, cell.rules())
    # Envoy hands what it took on by a connection of its own, which rules count too
    captured = found.verdict in ("redirect", "tproxy")
    return said, found, met(found) <= counted if captured else met(found) == counted


@pytest.mark.parametrize("name", OUTBOUND)
def test_what_a_process_sends(cell: Cell, name: str) -> None:
    probe, places = OUTBOUND[name], cell.wire.places
    host = getattr(places, probe.to)
    source = {"source": getattr(places, probe.source)} if probe.source else {}
    said, found, counted = asked(cell, probe.owner, host, probe.port, **source)
    assert (said["by"], said["port"]) == probe.answered
    assert ends_at(found, probe.port) == probe.ends_at and counted
    if not probe.cluster:
        assert said["peer"] == said["own"], "what is left alone keeps its source"
        return
    assert said["peer"] != said["own"]
    assert cell.stage.sidecar.logged(host, probe.port)["cluster"] == probe.cluster
    to_itself = probe.answered == ITSELF
    assert said["peer"][0] == (cell.handed_on_from_itself if to_itself else places.pod)


LOOKUPS = {
    "over UDP": (APPLICATION, "resolver", "udp lookup"),
    "over TCP": (APPLICATION, "resolver", "tcp lookup"),
    "over UDP to localhost": (APPLICATION, "loopback", "udp lookup"),
}


@pytest.mark.parametrize("name", LOOKUPS)
def test_names_are_answered_by_the_sidecar(cell: Cell, name: str) -> None:
    """Its own names by itself, every other by the resolver, which the sidecar asks in its turn."""
    owner, to, speaks = LOOKUPS[name]
    host = getattr(cell.wire.places, to)
    kind = "A" if cell.stage.family == "ipv4" else "AAAA"
    known, found, counted = asked(cell, owner, host, 53, speaks=speaks, name=NAME, type=kind)
    assert known["records"] == [cell.wire.places.service]
    assert found.to_port == 15053 and counted
    other, _, _ = asked(cell, owner, host, 53, speaks=speaks, name="elsewhere.example", type="TXT")
    assert resolver_saw(other)["peer"][0] == cell.wire.places.pod
    assert resolver_saw(other)["peer"] != other["own"]


@pytest.mark.parametrize("speaks", ["udp lookup", "tcp lookup"])
def test_lookups_of_the_proxys_own_go_to_the_resolver(cell: Cell, speaks: str) -> None:
    given = {"speaks": speaks, "name": NAME, "type": "TXT"}
    said, found, counted = asked(cell, PROXY_USER, cell.wire.places.resolver, 53, **given)
    assert resolver_saw(said)["peer"] == said["own"]
    assert found.verdict not in ("redirect", "tproxy") and counted


def resolver_saw(said: Any) -> Any:
    (record,) = said["records"]
    return json.loads(json.loads(record))


def from_outside(cell: Cell, port: int, **more: Any) -> tuple[Any, Walk]:
    """What another host is told, and what the walker says of its first packet."""
    cell.stage.sidecar.watch()
    places, before = cell.wire.places, cell.rules()
    packet = Packet(places.pod, port, source=places.other, in_interface="eth0", local=True)
    found = journey(before, packet, inbound=True)
    assert not found.undecided
    given = {"act": "once", "host": places.pod, "port": port, "source": places.other, "uid": 0, "gid": 0}
    said = cell.wire.outside.ask({**given, **more})
    assert "error" not in said, said
    assert met(found) <= moved(before, cell.rules())
    return said, found


def test_what_another_host_sends_comes_by_envoy(cell: Cell) -> None:
    said, found = from_outside(cell, 9080)
    assert (said["by"], said["port"], said["peer"][0]) == ("application", 9080, cell.handed_on_from)
    assert found.to_port == 15006
    assert found.verdict == ("tproxy" if cell.stage.mode == "TPROXY" else "redirect")
    assert cell.stage.sidecar.logged(cell.wire.places.pod, 9080)["cluster"] == "inbound|9080||"


def test_an_excluded_port_is_reached_with_the_callers_source(cell: Cell) -> None:
    said, found = from_outside(cell, 9082)
    assert (said["by"], said["port"], said["peer"]) == ("application", 9082, said["own"])
    assert ends_at(found, 9082) == 9082


def test_the_tunnels_port_is_captured_by_tproxy_alone(cell: Cell) -> None:
    """As in Istio: the rule that lets it pass stands in nat, which TPROXY does not ask."""
    said, found = from_outside(cell, 15008, speaks="http", path="/")
    captured = cell.stage.mode == "TPROXY"
    assert ends_at(found, 15008) == (15006 if captured else 15008)
    told = json.loads(said["body"])
    assert told["by"] == "application" and told["peer"][0] == cell.wire.places.other
    assert (told["peer"] == said["own"]) != captured
    if captured:
        logged = cell.stage.sidecar.logged(cell.wire.places.pod, 15008)
        assert logged["cluster"] == "InboundPassthroughCluster"


@pytest.mark.parametrize("port", [15020, 15021, 15090])
def test_health_probes_and_scrapes_are_answered_without_capture(cell: Cell, port: int) -> None:
    path = {15020: "/healthz/ready", 15021: "/healthz/ready", 15090: "/stats/prometheus"}[port]
    said, found = from_outside(cell, port, speaks="http", path=path)
    assert said["status"] == 200 and ends_at(found, port) == port
    if port == 15090:
        assert "envoy_server_uptime" in said["body"]
    else:
        told = json.loads(said["body"])
        assert told["port"] == 15020
        assert (told["peer"] == said["own"]) == (port == 15020), "to 15021 Envoy asks the agent"


def test_a_server_that_speaks_first_waits_for_the_client_where_nothing_declares_the_port(cell: Cell) -> None:
    """In either mode: Envoy looks at the client's first bytes to tell HTTP, unless a Service says what the port is."""
    places = cell.wire.places
    asked = {"act": "speak last", "host": places.pod, "silence": 0.2}
    cell.stage.sidecar.watch()
    said = cell.wire.outside.ask({**asked, "port": UNDECLARED})
    assert said["early"] == "" and said["then"]["port"] == UNDECLARED
    assert cell.stage.sidecar.logged(places.pod, UNDECLARED)["cluster"] == "InboundPassthroughCluster"
    assert cell.wire.outside.ask({**asked, "port": 9080, "silence": ANSWER_SECONDS})["early"], "a declared TCP port"


def test_connections_outlive_rules_that_are_applied_again(cell: Cell) -> None:
    """The same, others, the other backend's and back: in both directions, by Envoy and around it."""
    places = cell.wire.places
    calls = [
        (cell.wire.inside, "by Envoy", places.service, 80, "other"),
        (cell.wire.inside, "around it", places.excluded, 9080, "other"),
        (cell.wire.inside, "to itself", places.own_service, 80, "application"),
        (cell.wire.outside, "in by Envoy", places.pod, 9080, "application"),
        (cell.wire.outside, "in around it", places.pod, 9082, "application"),
    ]
    for caller, name, host, port, by in calls:
        assert caller.ask({"act": "hold", "name": name, "host": host, "port": port})["by"] == by
    another = next(each for each in BACKENDS if each != cell.backend)
    try:
        assert not cell.apply()
        for backend, changed in ((cell.backend, {"outbound_ports": ("7",)}), (another, {}), (cell.backend, {})):
            assert cell.apply(backend, **changed)
            for caller, name, *_ in calls:
                assert caller.ask({"act": "ping", "name": name}) == {"said": "still there"}, (name, backend, changed)
    finally:
        for caller, name, *_ in calls:
            caller.ask({"act": "let go", "name": name})
        cell.apply()


def test_none_of_many_short_connections_goes_around_the_proxy(cell: Cell) -> None:
    """50,000 in each cell of the matrix. Their service has no endpoint: Envoy takes and ends each by itself."""
    places, count = cell.wire.places, CHURN
    before, others = cell.stage.sidecar.taken(), cell.wire.others.ask()
    given = {"act": "churn", "count": count, "places": [(places.empty_service, 80)]}
    assert cell.wire.inside.ask(given) == {"failed": 0}
    assert until(lambda: cell.stage.sidecar.taken() - before, lambda taken: taken >= count) == count
    assert cell.wire.others.ask() == others, "nothing came to the other host"
