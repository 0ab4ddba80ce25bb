"""No meaning is read out of names: a dump with every name replaced by a random one gives the same trace."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.equivalence.live.drawing import Drawn, drawn
from tests.equivalence.live.judge import World
from tests.equivalence.live.stage import Mode
from tests.equivalence.live.worlds import as_yaml
from tidegate.answer.question import ask
from tidegate.explain.config import EnvoyConfig, read_config
from tidegate.explain.connection import Connection, HttpRequest, TlsHello
from tidegate.explain.interpret import interpret
from tidegate.explain.trace import Trace

pytestmark = pytest.mark.conformance
NAMES = """
name cluster clusterName routeConfigName serviceName statPrefix altStatName serverListenerName providerName
requirementName cluster_name route_config_name service_name stat_prefix alt_stat_name server_listener_name
provider_name requirement_name
"""
NAMING = frozenset(NAMES.split())
"""Fields that hold a name that somebody gave."""
MAPS = """
typedPerFilterConfig typedExtensionProtocolOptions policies providers requirementMap
typed_per_filter_config typed_extension_protocol_options requirement_map
"""
KEYED = frozenset(MAPS.split())
"""Maps by such names."""
NOT_NAMES = frozenset(
    ["headers", "queryParameters", "fromHeaders", "query_parameters", "from_headers", "cookie", "queryParameter"]
)
"""What is called a name here is a header's or a parameter's."""


class Renaming:
    """Each name becomes a random one. Only their order stays, for policies are asked in the order of their names."""

    def __init__(self, whole: Any, seed: int) -> None:
        dice, found = random.Random(seed), set[str]()
        self._collect(whole, "", found)
        ranks = {name: rank for rank, name in enumerate(sorted(found - {""}))}
        self.new = {name: f"n{rank:05d}-{dice.getrandbits(40):x}" for name, rank in ranks.items()}

    def _collect(self, value: Any, parent: str, found: set[str]) -> None:
        if isinstance(value, list):
            for each in value:
                self._collect(each, parent, found)
        elif isinstance(value, dict) and parent not in ("filterMetadata", "filter_metadata"):
            found |= set(value) if parent in KEYED else set()
            for key, each in value.items():
                if key in NAMING and isinstance(each, str) and parent not in NOT_NAMES:
                    found.add(each)
                self._collect(each, key, found)

    def apply(self, value: Any, parent: str = "") -> Any:
        if isinstance(value, list):
            return [self.apply(each, parent) for each in value]
        if not isinstance(value, dict) or parent in ("filterMetadata", "filter_metadata"):
            return value
        keyed = parent in KEYED
        return {self.new.get(key, key) if keyed else key: self._field(key, each, parent) for key, each in value.items()}

    def _field(self, key: str, value: Any, parent: str) -> Any:
        if key in NAMING and isinstance(value, str) and parent not in NOT_NAMES:
            return self.new.get(value, value)
        return self.apply(value, key)


TOLD = frozenset(["name", "cluster", "match", "routeConfiguration", "certificates", "roots", "ambiguous"])
"""Fields of a trace that tell a name."""
WORDS = frozenset(["why", "what", "metadata", "istio"])


def bare(trace: Trace, new: dict[str, str]) -> Any:
    """A trace without words, its names as ``new`` calls them."""
    return _bare(msgspec.to_builtins(trace.ends), "", new), len(trace.unknown)


def _bare(value: Any, parent: str, new: dict[str, str]) -> Any:
    if isinstance(value, list | tuple):
        return [_bare(each, parent, new) for each in value]
    if isinstance(value, dict):
        return {key: _bare(each, key, new) for key, each in value.items() if key not in WORDS}
    return new.get(value, value) if parent in TOLD and isinstance(value, str) else value


def connections(config: EnvoyConfig, dice: random.Random) -> list[Connection]:
    addresses = [("192.0.2.200", 8888)]
    for running in config.listeners:
        addresses += [("10.1.2.3" if ip in ("0.0.0.0", "::") else ip, port) for ip, port, _ in running.addresses]
    names = sorted(
        {
            name
            for running in config.listeners
            for head in running.heads
            for name in head.filter_chain_match.server_names
        }
    )
    hosts = ["a.test"]
    for table in config.route_tables():
        hosts += [domain.replace("*", "x") for domain in table.domains]
    found = []
    for _ in range(12):
        ip, port = dice.choice(addresses)
        direction = dice.choice(("outbound", "outbound", "inbound", "gateway"))
        tls = (
            TlsHello(dice.choice(names or ["a.test"]).replace("*", "x"), ("istio", "h2"))
            if dice.random() < 0.3
            else None
        )
        path = dice.choice(("/", "/api/v1", "/admin"))
        headers = dice.choice(((), (), (("authorization", "Bearer nonsense"),)))
        http = HttpRequest(authority=dice.choice(hosts), path=path, headers=headers) if dice.random() < 0.8 else None
        found.append(Connection(direction, ip, port, source_ip="10.244.0.9", tls=tls, http=http))  # type: ignore[arg-type]
    return found


def dumps(shared: Path) -> list[Path]:
    patterns = ("xds-goldens/*/expected/*.json", "conformance/config_dump/dumps/*.json", "incidents/*/expected/*.json")
    return sorted(path for pattern in patterns for path in shared.glob(pattern))


def judged(whole: Any, seed: int, asked: Callable[[EnvoyConfig], list[Connection]], told: str) -> int:
    """The same is said of each connection by whichever names; how many there were."""
    renaming = Renaming(whole, seed)
    before, after = read_config(whole), read_config(renaming.apply(whole))
    found = asked(before)
    for connection in found:
        expected = bare(interpret(before, connection), renaming.new)
        assert bare(interpret(after, connection), {}) == expected, f"{told} {connection}"
    return len(found)


def test_names_carry_no_meaning(shared: Path) -> None:
    dice = random.Random(5)
    counts = [
        judged(json.loads(path.read_text()), number, lambda config: connections(config, dice), str(path))
        for number, path in enumerate(dumps(shared))
    ]
    assert sum(counts)


@pytest.mark.parametrize("mode", ["REDIRECT", "TPROXY", "NONE", "ROUTER"])
def test_nor_do_those_of_our_own_worlds(mode: Mode) -> None:
    """Gateways with their secrets, patches, names resolved on demand, policies and tokens among them."""
    counts = []

    def check(case: Drawn) -> None:
        world = World(case.documents, "/dev/null")
        compiled = world.own.compiled
        questions = [ask(compiled.world, compiled.proxy, each, world.own.names).connection for each in case.questions]
        dice = random.Random(len(counts))
        counts.append(
            judged(world.dump, 1, lambda config: questions + connections(config, dice), as_yaml(case.documents))
        )

    for number in range(6):
        drawn(mode, f"names {mode} {number}", check)
    assert len(counts) == 6 and all(counts)
