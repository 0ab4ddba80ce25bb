"""Worlds in which the Pod is a gateway: servers of every kind, and rules that are bound to them, or nearly."""

from typing import Any

from hypothesis import strategies as st

from tests.certificates import Authority
from tests.equivalence.live import policies, worlds
from tests.equivalence.live.draw import Draw, Json, chance, choice, networking
from tests.equivalence.live.stage import ADDRESS, ADDRESS6, ELSEWHERE, NAMESPACE, OUTSIDE, OUTSIDE6, POD
from tidegate.answer.question import Question

LABELS = {"istio": "edge"}
TEMPLATES = {"inject.istio.io/templates": "gateway"}
NAMES = ("one.example.com", "two.example.com", "x.wild.example.com", "q.example.com")
HOSTS = (["*"], ["*"], ["*"], ["*.example.com"], ["*.example.com"], ["one.example.com"])
HOSTS += (["one.example.com", "two.example.com"], ["shop/*"], ["other/*.example.com"], ["*.wild.example.com"])
SERVERS = (
    (80, "HTTP", None),
    (80, "HTTP", None),
    (80, "HTTP", {"httpsRedirect": True}),
    (80, "HTTP2", None),
    (8000, "HTTP", None),
    (8000, "GRPC", None),
    (443, "HTTPS", {"mode": "SIMPLE", "credentialName": "cert"}),
    (443, "HTTPS", {"mode": "SIMPLE", "credentialName": "cert"}),
    (443, "HTTPS", {"mode": "MUTUAL", "credentialName": "cert"}),
    (443, "HTTPS", {"mode": "OPTIONAL_MUTUAL", "credentialName": "cert"}),
    (443, "TLS", {"mode": "PASSTHROUGH"}),
    (443, "TLS", {"mode": "AUTO_PASSTHROUGH"}),
    (443, "TLS", {"mode": "SIMPLE", "credentialName": "cert"}),
    (8443, "TLS", {"mode": "PASSTHROUGH"}),
    (8443, "HTTPS", {"mode": "SIMPLE", "credentialName": "absent"}),
    (9000, "TCP", None),
    (9000, "TCP", None),
    (3306, "MYSQL", None),
)
ROUTED = ("outbound_.443_._.a.shop.svc.cluster.local", "outbound_.443_._.one.example.com")
"""Server names by which a gateway of another network chooses a service."""
_AUTHORITY = Authority()
_SECRET = _AUTHORITY.issue("one.example.com").secret("cert", NAMESPACE, _AUTHORITY.roots)


@st.composite
def servers(draw: Draw) -> Json:
    number, protocol, tls = draw(st.sampled_from(SERVERS))
    found: Json = {"port": {"number": number, "name": f"{protocol.lower()}-{number}", "protocol": protocol}}
    found["hosts"] = draw(choice(*HOSTS))
    return {**found, "tls": tls} if tls else found


@st.composite
def gateway(draw: Draw, number: int) -> Json:
    selector = draw(choice(*[LABELS] * 9, {"istio": "elsewhere"}))
    listed = draw(st.lists(servers(), min_size=1, max_size=4, unique_by=lambda each: each["port"]["number"]))
    for place, each in enumerate(listed):
        each["port"]["name"] += f"-{place}"
    space = draw(choice(*[NAMESPACE] * 6, "other"))
    return networking("Gateway", f"g{number}", space, {"selector": selector, "servers": listed})


@st.composite
def rule(draw: Draw, number: int, registry: list[Json], kind: str) -> Json:
    """A VirtualService; its destinations are hosts that the world has, its own hosts those that callers name."""
    wide = [["*"], ["*"], ["*"], ["*.example.com"]]
    spec: Json = {"hosts": draw(choice(*wide, *([each] for each in NAMES[:2]), list(NAMES[:2])))}
    every = [f"{NAMESPACE}/g{gateway}" for gateway in range(3)]
    spec["gateways"] = draw(choice(every, every, every, ["g0"], [f"{NAMESPACE}/g0"], ["g0", "g1"], ["g1", "mesh"]))
    hosts = worlds.known(registry)
    there = [{"host": h, "port": {"number": p}} for h, ports in hosts.items() for p in ports if h[0] != "*"]
    one = st.sampled_from(there) if there and draw(chance(85)) else worlds.destination(hosts)
    to: Any = one.map(lambda found: [{"destination": found}])
    if kind == "http":
        spec["http"] = draw(st.lists(worlds.http_route(hosts), max_size=2))
        spec["http"] += [{"route": draw(to)}] if draw(chance(85)) or not spec["http"] else []
    elif kind == "tls":
        match = {"sniHosts": spec["hosts"], **draw(choice({}, {}, {"port": 443}, {"port": 8443}))}
        spec["tls"] = [{"match": [match], "route": draw(to)}]
    else:
        match = draw(choice({}, {}, {"port": 9000}, {"port": 443}))
        spec["tcp"] = [{**({"match": [match]} if match else {}), "route": draw(to)}]
    return networking("VirtualService", f"v{number}", draw(choice(NAMESPACE, NAMESPACE, "other")), spec)


@st.composite
def makes(draw: Draw) -> list[Json]:
    addresses = draw(choice((ADDRESS,), (ADDRESS,), (ADDRESS, ADDRESS6)))
    registry = worlds.suiting([*draw(worlds.services()), *draw(worlds.entries())], addresses)
    own = worlds.pod(POD, NAMESPACE, LABELS, addresses, annotations=TEMPLATES)
    found = [own, _SECRET, *registry]
    found += [draw(gateway(number)) for number in range(draw(choice(1, 2, 3)))]
    kinds = ["http", "tls", "tcp", "http", "http"][: draw(choice(3, 4, 5))]
    found += [draw(rule(number, registry, kind)) for number, kind in enumerate(kinds)]
    found += [draw(worlds.destination_rule(number, worlds.known(registry))) for number in range(draw(choice(0, 1)))]
    found += draw(policies.said_of_the_pod(often=False))
    return [*found, worlds.mesh("ALLOW_ANY")]


@st.composite
def questions(draw: Draw, documents: list[Json]) -> Question:
    every = [each for each in documents if each["kind"] == "Gateway"]
    mine = [each for each in every if each["spec"]["selector"] == LABELS] or every
    listed = [s for each in mine for s in each["spec"]["servers"]]
    server = draw(st.sampled_from(listed))
    port, kind = server["port"]["number"], server["port"]["protocol"]
    if draw(chance(8)):
        port = draw(choice(80, 443, 8000, 8443, 9000, 7777))
    protocol = draw(choice(*_SPOKEN.get(kind, ("tcp",)) * 8, "http", "https", "tcp"))
    six = ":" in "".join(e["ip"] for e in documents[0]["status"]["podIPs"]) and draw(chance(30))
    own = [each.rpartition("/")[2].replace("*.", "x.") for each in server["hosts"]]
    name = draw(choice(*NAMES, *[each for each in own if each != "*"] * 4))
    host = draw(choice(*[name] * 6, f"{name}:{port}", name.upper(), "unknown.test"))
    web = protocol in ("http", "http2", "grpc", "https")
    ip = ADDRESS6 if six else ADDRESS
    return Question(
        to=ip,
        ip=ip,
        port=port,
        protocol="tcp" if protocol == "first" else protocol,
        sni=draw(choice(*[name] * 6, *ROUTED, "unknown.test")) if protocol in ("tls", "https") else "",
        host=host if web else "",
        path=draw(choice(*worlds.PATHS)),
        method="POST" if protocol == "grpc" else draw(choice(*worlds.METHODS)),
        headers=draw(worlds.headers()),
        server_first=protocol == "first",
        direction="inbound",
        source_ip=OUTSIDE6 if six else draw(choice(OUTSIDE, ELSEWHERE)),
    )


_SPOKEN = {
    "HTTP": ("http",),
    "HTTP2": ("http2", "http"),
    "GRPC": ("http2", "grpc"),
    "HTTPS": ("https", "https", "tls"),
    "TLS": ("tls", "https"),
    "MYSQL": ("first", "tcp"),
}
