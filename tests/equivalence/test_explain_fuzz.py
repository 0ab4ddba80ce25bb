"""Whatever is given to the interpreter, it answers: mutated dumps, cut text, odd connections, hostile patterns."""

import copy
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tidegate.dump.config.keys import camel
from tidegate.explain.config import read_config
from tidegate.explain.connection import Connection, HttpRequest, TlsHello
from tidegate.explain.interpret import interpret
from tidegate.explain.trace import Profile, Trace

ODD: tuple[Any, ...] = (
    None,
    "",
    "x",
    -1,
    0,
    1e300,
    True,
    [],
    {},
    [{}],
    [[]],
    {"@type": "x"},
    "9" * 400,
    [None],
    {"name": 5},
)
BASES = ("authz-inbound/expected/pay", "vs-matches/expected/checkout", "ingress-gateway-server-mix/expected/*")
BASES += (
    "dr-locality-lb/expected/checkout",
    "inbound-peer-authentication/expected/legacy",
    "vs-fault/expected/checkout",
)
NETWORK = "type.googleapis.com/envoy.extensions.filters.network."
GENTLE = settings(max_examples=250, deadline=None, suppress_health_check=list(HealthCheck))

texts = st.text(max_size=12) | st.sampled_from(["a.test", "*", "10.0.0.1", "::1", "[::1]:x", ":", "x:99999999"])
ports = st.sampled_from([80, 443, 8080, 9080, 15001, 15006, 0, -1, 70000])
hellos = st.none() | st.builds(TlsHello, texts, st.lists(texts, max_size=3).map(tuple), st.booleans(), texts)
pairs = st.lists(
    st.tuples(st.sampled_from(["x", "upgrade", "connection", "cookie", "x-forwarded-for"]), texts), max_size=3
)
requests = st.none() | st.builds(
    HttpRequest,
    st.sampled_from(["1.0", "1.1", "2"]),
    st.sampled_from(["GET", "CONNECT", "OPTIONS", ""]),
    texts,
    texts,
    pairs.map(tuple),
)
connections = st.builds(
    Connection,
    st.sampled_from(["outbound", "inbound", "gateway"]),
    st.sampled_from(["10.0.0.1", "", "::1", "nonsense", "10.96.1.1"]),
    ports,
    texts,
    ports,
    st.sampled_from(["tcp", "udp"]),
    hellos,
    requests,
    st.booleans(),
    st.booleans(),
)


def whole(trace: Trace) -> None:
    """What holds of every trace."""
    assert trace.ends and trace.steps == trace.ends[0].steps
    assert abs(sum(end.probability for end in trace.ends) - 1) < 1e-6


def mutated(value: Any, dice: random.Random, times: int) -> Any:
    changed = json.loads(json.dumps(value))
    for _ in range(times):
        inside, depth = changed, dice.randint(1, 14)
        for _ in range(depth):
            keys = list(inside) if isinstance(inside, dict) else list(range(len(inside)))
            if not keys:
                break
            key = dice.choice(keys)
            if not isinstance(inside[key], dict | list) or dice.random() < 0.08:
                _spoil(inside, key, dice)
                break
            inside = inside[key]
    return changed


def _spoil(inside: Any, key: Any, dice: random.Random) -> None:
    if dice.random() < 0.3:
        del inside[key]
    elif isinstance(inside, list) and dice.random() < 0.4:
        inside.append(copy.deepcopy(inside[key]))
    else:
        inside[key] = copy.deepcopy(dice.choice(ODD))


@pytest.fixture(scope="module")
def bases(shared: Path) -> list[Any]:
    found = [path for name in BASES for path in sorted((shared / "xds-goldens").glob(f"{name}.json"))]
    parts = [json.loads(path.read_text()) for path in found]
    return [{key: part.get(key, []) for key in ("lds", "rds", "cds", "eds", "ecds")} for part in parts]


@GENTLE
@given(seed=st.integers(0, 2**32), times=st.integers(1, 25), asked=st.lists(connections, min_size=1, max_size=4))
def test_mutated_dumps(bases: list[Any], seed: int, times: int, asked: list[Connection]) -> None:
    dice = random.Random(seed)
    config = read_config(mutated(dice.choice(bases), dice, times))
    for connection in asked:
        whole(interpret(config, connection))
    for running in list(config.listeners)[:6]:
        for ip, port, _ in list(running.addresses)[:1]:
            for direction in ("outbound", "inbound", "gateway"):
                request = HttpRequest(authority="orders.shop")
                whole(interpret(config, Connection(direction, ip, port, "10.0.0.5", http=request)))  # type: ignore[arg-type]


SECTIONS = {
    "lds": ("Listeners", "dynamic_listeners", "listener"),
    "cds": ("Clusters", "dynamic_active_clusters", "cluster"),
    "rds": ("Routes", "dynamic_route_configs", "route_config"),
    "eds": ("Endpoints", "dynamic_endpoint_configs", "endpoint_config"),
}


def as_dump(base: Any, snake: bool) -> Any:
    """As an Envoy's admin interface shows the resources, with either spelling of its fields."""
    configs = []
    for kind, (name, entries, field) in SECTIONS.items():
        listed: list[Any] = [{"version_info": "1", field: each} for each in base[kind]]
        if kind == "lds":
            listed = [{"name": each["listener"].get("name", ""), "active_state": each} for each in listed]
        found = {"@type": f"type.googleapis.com/envoy.admin.v3.{name}ConfigDump", entries: listed}
        configs.append(found if snake else camel(found))
    return {"configs": configs}


@GENTLE
@given(seed=st.integers(0, 2**32), times=st.integers(1, 25), snake=st.booleans(), asked=connections)
def test_mutated_dumps_of_an_admin_interface(
    bases: list[Any], seed: int, times: int, snake: bool, asked: Connection
) -> None:
    dice = random.Random(seed)
    whole_one = as_dump(dice.choice(bases), snake)
    config = read_config(mutated(whole_one, dice, times) if times > 1 else whole_one)
    whole(interpret(config, asked))
    for running in list(config.listeners)[:4]:
        for ip, port, _ in list(running.addresses)[:1]:
            whole(interpret(config, Connection("gateway", ip, port, http=HttpRequest(authority="orders.shop"))))
    if times == 1:
        assert config.listeners and not [each for each in config.unknown if each.where.startswith("configs")]


@GENTLE
@given(cut=st.integers(0, 10_000_000), number=st.integers(0, 100), snake=st.booleans())
def test_text_of_an_admin_interface_that_was_cut(bases: list[Any], cut: int, number: int, snake: bool) -> None:
    text = json.dumps(as_dump(bases[number % len(bases)], snake)).encode()
    config = read_config(text[: cut % len(text)])
    assert config.unknown
    whole(interpret(config, Connection("inbound", "10.0.0.1", 8080, http=HttpRequest(authority="a"))))


@GENTLE
@given(cut=st.integers(0, 10_000_000), number=st.integers(0, 100))
def test_text_that_was_cut(bases: list[Any], cut: int, number: int) -> None:
    text = json.dumps(bases[number % len(bases)]).encode()
    config = read_config(text[: cut % len(text)])
    assert config.unknown
    whole(interpret(config, Connection("inbound", "10.0.0.1", 8080, http=HttpRequest(authority="a"))))


@GENTLE
@given(
    at=st.integers(0, 10_000_000),
    data=st.binary(min_size=1, max_size=20),
    number=st.integers(0, 100),
    snake=st.booleans(),
)
def test_text_with_other_bytes_in_it(bases: list[Any], at: int, data: bytes, number: int, snake: bool) -> None:
    base = bases[number % len(bases)]
    text = json.dumps(as_dump(base, snake) if number % 2 else base).encode()
    place = at % len(text)
    config = read_config(text[:place] + data + text[place + len(data) :])
    whole(interpret(config, Connection("inbound", "10.0.0.1", 8080, http=HttpRequest(authority="a"))))


def test_what_comes_before_the_cut_is_read(bases: list[Any]) -> None:
    text = json.dumps(bases[0]).encode()
    config = read_config(text[: len(text) // 2])
    assert config.listeners and "breaks off" in config.unknown[0].why


KEYS = st.sampled_from(["configs", "listeners", "routes", "clusters", "endpoints", "lds", "@type"])
ANYTHING = st.recursive(
    st.sampled_from(ODD),
    lambda inner: st.dictionaries(KEYS, st.lists(inner, max_size=3)) | st.lists(inner, max_size=3),
)


@GENTLE
@given(data=st.binary(max_size=200) | texts | ANYTHING.map(json.dumps))
def test_anything_at_all(data: bytes | str) -> None:
    whole(interpret(read_config(data), Connection("outbound", "10.0.0.1", 80)))


HOSTILE = ["a" * 100_000, "(" * 100_000, "(a*)*" * 20_000, "((a{1000}){1000})", "[a-z]{1000}" * 50]
HOSTILE += ["/" + ".*a" * 15_000, "/" + "(a?)" * 15_000, "/(.*[ab].{400})(.*[ab].{400})c"]


@pytest.mark.parametrize("pattern", HOSTILE, ids=range(len(HOSTILE)))
def test_patterns_without_bounds(pattern: str) -> None:
    rewrite = {"pattern": {"regex": pattern}, "substitution": "/"}
    other = {"match": {"prefix": "/"}, "route": {"cluster": "c", "regexRewrite": rewrite}}
    route = {"match": {"safeRegex": {"regex": pattern}}, "route": {"cluster": "c", "regexRewrite": rewrite}}
    manager = {
        "@type": NETWORK + "http_connection_manager.v3.HttpConnectionManager",
        "routeConfig": {"virtualHosts": [{"name": "h", "domains": ["*"], "routes": [route, other]}]},
    }
    chain = {"filters": [{"name": "h", "typedConfig": manager}]}
    address = {"socketAddress": {"address": "0.0.0.0", "portValue": 80}}
    config = read_config({"listeners": [{"name": "l", "address": address, "filterChains": [chain]}]})
    asked = Connection("gateway", "10.0.0.1", 80, http=HttpRequest(authority="a", path="/" + "ab" * 30_000))
    whole(interpret(config, asked))


ADDRESS = {"socketAddress": {"address": "0.0.0.0", "portValue": 80}}
ASKED = Connection("gateway", "10.0.0.1", 80, http=HttpRequest(authority="a.test"))
DEEP, LONG = 10_000, 20_000


def listening(*filters: dict[str, Any]) -> dict[str, Any]:
    return {"listeners": [{"name": "l", "address": ADDRESS, "filterChains": [{"filters": list(filters)}]}]}


AROUND: dict[str, Callable[[Any], dict[str, Any]]] = {
    "not": lambda inner: {"notRule": inner},
    "not, in snake case": lambda inner: {"not_rule": inner},
    "and": lambda inner: {"andRules": {"rules": [inner]}},
    "or": lambda inner: {"orRules": {"rules": [inner]}},
}


def nested(around: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
    deep: dict[str, Any] = {"any": True}
    for _ in range(DEEP):
        deep = around(deep)
    return deep


def controlled(permission: dict[str, Any]) -> dict[str, Any]:
    policies = {"p": {"permissions": [permission], "principals": [{"any": True}]}}
    settings = {"@type": NETWORK + "rbac.v3.RBAC", "rules": {"policies": policies}}
    return listening({"name": "r", "typedConfig": settings})


@pytest.mark.parametrize("around", AROUND)
def test_rules_in_rules_without_bounds(around: str) -> None:
    trace = interpret(read_config(controlled(nested(AROUND[around]))), Connection("gateway", "10.0.0.1", 80))
    whole(trace)
    assert trace.unknown


@pytest.mark.parametrize(
    "text",
    [
        b"[" * DEEP + b"]" * DEEP,
        b"{" * DEEP,
        b'{"configs": ' * DEEP + b"1" + b"}" * DEEP,
        b'{"listeners": [' * DEEP + b"]}" * DEEP,
    ],
    ids=range(4),
)
def test_text_of_any_depth(text: bytes) -> None:
    config = read_config(text)
    assert "nested too deeply" in config.unknown[0].why or "breaks off" in config.unknown[0].why
    whole(interpret(config, ASKED))


def managed(**host: Any) -> dict[str, Any]:
    table = {"virtualHosts": [{"name": "h", "domains": ["*"], **host}]}
    settings = {"@type": NETWORK + "http_connection_manager.v3.HttpConnectionManager", "routeConfig": table}
    return listening({"name": "h", "typedConfig": settings})


def weighted() -> dict[str, Any]:
    clusters = [{"name": f"c{number}", "weight": 1} for number in range(LONG)]
    return managed(routes=[{"match": {"prefix": "/"}, "route": {"weightedClusters": {"clusters": clusters}}}])


CHAIN = {"filterChainMatch": {"destinationPort": 81}, "filters": []}
LISTS: dict[str, Any] = {
    "listeners": lambda: {"listeners": [{"name": "l", "address": ADDRESS}] * LONG},
    "things that are no listeners": lambda: {"listeners": [7, None, "x", []] * (LONG // 4)},
    "chains": lambda: {"listeners": [{"name": "l", "address": ADDRESS, "filterChains": [CHAIN] * LONG}]},
    "filters": lambda: listening(
        *[{"name": "x", "typedConfig": {"@type": NETWORK + "sni_cluster.v3.SniCluster"}}] * LONG
    ),
    "domains": lambda: managed(domains=[f"*.h{number}.test" for number in range(LONG)]),
    "routes": lambda: managed(routes=[{"match": {"safeRegex": {"regex": "/z.*z"}}, "route": {"cluster": "c"}}] * LONG),
    "weighted clusters": weighted,
    "headers": lambda: managed(
        routes=[
            {
                "match": {"prefix": "/"},
                "route": {"cluster": "c"},
                "requestHeadersToAdd": [{"header": {"key": f"x-{n}", "value": "v"}} for n in range(LONG // 10)],
            }
        ]
    ),
    "rules": lambda: controlled({"orRules": {"rules": [{"destinationPort": 81}] * LONG}}),
}


@pytest.mark.parametrize("kind", LISTS)
def test_lists_of_any_length(kind: str) -> None:
    trace = interpret(read_config(LISTS[kind]()), ASKED)
    whole(trace)
    assert len(trace.ends) <= Profile().most_ends + 1
    assert all(len(step.rejected) <= Profile().most_rejections for end in trace.ends for step in end.steps)
