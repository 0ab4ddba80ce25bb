"""Worlds and connections drawn at random: small, full of things that meet on one port, one host or one address."""

from collections.abc import Iterator, Sequence
from typing import Any

import yaml
from hypothesis import strategies as st

from tests.equivalence.live import policies
from tests.equivalence.live.draw import Draw, Json, chance, choice, document, networking, some
from tests.equivalence.live.far import DEAD, SLOW
from tests.equivalence.live.stage import (
    ADDRESS,
    ADDRESS6,
    APPLICATION_PORTS,
    CALLER_NAME,
    ELSEWHERE,
    NAMESPACE,
    OUTSIDE,
    OUTSIDE6,
    POD,
    Mode,
)
from tidegate.answer.question import Question
from tidegate.app.offline.proxyspec import PROXY_CONFIG
from tidegate.rules.annotations import MODE

Hosts = dict[str, list[int]]
"""Hosts with their ports."""
SPACES = (NAMESPACE, NAMESPACE, "other")
SERVICES = ("a", "b", "c", "web")
OUTER = ("one.example.com", "two.example.com", "*.wild.example.com", "*.example.com", "db.example.com")
NAMED = ("x.wild.example.com", "y.x.wild.example.com", "q.example.com")
VIPS = tuple(f"10.96.0.{number}" for number in range(1, 5))
VIPS6 = tuple(f"fd00:10:96::{number}" for number in range(1, 5))
ENTRY_ADDRESSES = ("198.51.100.7", "198.51.100.8", "198.51.100.0/24", "10.96.0.2", "198.18.0.7")
ENTRY_ADDRESSES += ("2001:db8::7", "2001:db8:1::/64")
MEMBERS = tuple(f"10.1.1.{number}" for number in range(1, 9))
STRANGERS = ("203.0.113.9", "198.51.100.9", "2001:db8::99")
PROXY_PORT = 15080
"""Of the mesh's HTTP proxy, where there is one."""
ONE_FAMILY = ("dual-stack", "off")
"""Label of the mesh's ConfigMap in worlds whose control plane runs without ISTIO_DUAL_STACK."""
CERTIFIED = ("certificates", "on")
"""Label of the mesh's ConfigMap in worlds in which the Pod has a certificate."""
BOUND_PORTS = (80, 7000)
"""Of Sidecar egress listeners that are bound to loopback."""
PORTS = (
    (80, "http", "HTTP"),
    (80, "http", "HTTP"),
    (80, "tcp-plain", "TCP"),
    (8000, "unnamed", ""),
    (8000, "http-alt", "HTTP"),
    (443, "tls", "TLS"),
    (443, "https", "HTTPS"),
    (9000, "tcp", "TCP"),
    (9000, "auto", ""),
    (9000, "grpc", "GRPC"),
    (7000, "http2", "HTTP2"),
    (3306, "mysql", "MySQL"),
)
WEB = (80, 8000, 8080, 8081)
PATHS = ("/", "/api", "/api/v1", "/apis", "/API", "/a//b", "/a/../api", "/a%2Fb", "/api?x=1&y=2", "/old/x", "/api/")
METHODS = ("GET", "GET", "POST", "DELETE")
HEADERS = (("x-user", "anna"), ("x-user", "bob"), ("x-team", "red"), ("cookie", "user=anna"), ("x-empty", ""))
LOG = (
    '{"id":"%REQ(X-ID)%","peer":"%DOWNSTREAM_DIRECT_REMOTE_ADDRESS%","cluster":"%UPSTREAM_CLUSTER_RAW%",'
    '"route":"%ROUTE_NAME%","flags":"%RESPONSE_FLAGS%","status":"%RESPONSE_CODE%","details":"%RESPONSE_CODE_DETAILS%",'
    '"attempts":"%UPSTREAM_REQUEST_ATTEMPT_COUNT%","grpc":"%GRPC_STATUS_NUMBER%","host":"%UPSTREAM_HOST%","local":"%UPSTREAM_LOCAL_ADDRESS%","sni":"%REQUESTED_SERVER_NAME%",'
    '"chain":"%FILTER_CHAIN_NAME%","dst":"%DOWNSTREAM_LOCAL_ADDRESS%",'
    '"why":"%UPSTREAM_TRANSPORT_FAILURE_REASON%","termination":"%CONNECTION_TERMINATION_DETAILS%"}'
)


# The registry


def full_name(service: str, namespace: str) -> str:
    return f"{service}.{namespace}.svc.cluster.local"


@st.composite
def services(draw: Draw) -> list[Json]:
    found: list[Json] = []
    for number, name in enumerate(draw(some(SERVICES[:3], 3, 1))):
        found += draw(service(name, draw(choice(*SPACES)), number))
    if draw(chance(70)):
        found += draw(own_service())
    return found


@st.composite
def service(draw: Draw, name: str, namespace: str, number: int) -> list[Json]:
    listed = draw(st.lists(st.sampled_from(PORTS), min_size=1, max_size=3, unique_by=lambda port: port[0]))
    usual = draw(chance(80))
    targets = [8000 + port % 1000 if usual else draw(choice(DEAD, SLOW)) for port, _, _ in listed]
    ports = [{"name": k, "port": port, "targetPort": t} for (port, k, _), t in zip(listed, targets, strict=True)]
    headless = draw(chance(15))
    addresses = ["None"] if headless else cluster_ips(draw, number)
    spec = {"clusterIP": addresses[0], "clusterIPs": addresses, "selector": {"app": name}, "ports": ports}
    meta = {"annotations": {"networking.istio.io/exportTo": "."}} if draw(chance(10)) else {}
    members = MEMBERS[number * 2 : number * 2 + draw(choice(0, *[1, 2] * 4))]
    pods = [
        pod(f"{name}-{i}", namespace, {"app": name, "version": f"v{i + 1}"}, (ip, f"fd00::{ip.replace('.', ':')}"))
        for i, ip in enumerate(members)
    ]
    return [document("Service", "v1", name, namespace, spec, **meta), *pods]


def cluster_ips(draw: Draw, number: int) -> list[str]:
    four, six = VIPS[number], VIPS6[number]
    return list(draw(choice((four,), (four,), (four, six), (six, four), (six,))))


@st.composite
def own_service(draw: Draw) -> list[Json]:
    """The service that the Pod itself is a member of: what its inbound side is made from."""
    kinds = {8080: ("http", "auto"), 8081: ("http", "auto", "tcp"), 9000: ("tcp", "auto", "grpc"), 3306: ("mysql",)}
    targets = draw(some(APPLICATION_PORTS, 3, 1))
    ports = [{"name": f"{draw(choice(*kinds[t]))}-{t}", "port": t + 1000, "targetPort": t} for t in targets]
    named = [
        {**each, "name": each["name"] if not each["name"].startswith("auto") else f"p{n}"}
        for n, each in enumerate(ports)
    ]
    addresses = cluster_ips(draw, 3)
    spec = {"clusterIP": addresses[0], "clusterIPs": addresses, "selector": {"app": "web"}, "ports": named}
    return [document("Service", "v1", "web", NAMESPACE, spec)]


def pod(name: str, namespace: str, labels: dict[str, str], addresses: Sequence[str], **meta: Any) -> Json:
    ready = [{"type": "Ready", "status": "True"}]
    spec = {"containers": [{"name": "app"}]}
    made = document("Pod", "v1", name, namespace, spec, labels=labels, **meta)
    listed = [{"ip": each} for each in addresses]
    return {**made, "status": {"phase": "Running", "podIP": addresses[0], "podIPs": listed, "conditions": ready}}


@st.composite
def entries(draw: Draw) -> list[Json]:
    found = []
    for number, host in enumerate(draw(some(OUTER, 3))):
        listed = draw(st.lists(st.sampled_from(PORTS), min_size=1, max_size=2, unique_by=lambda port: port[0]))
        wild, plain = ("NONE", "STATIC", "DYNAMIC_DNS"), ("NONE", "STATIC", "DNS", "DNS", "DNS_ROUND_ROBIN")
        resolution = draw(choice(*(wild if host.startswith("*") else plain)))
        ports = [
            {"number": port, "name": f"{kind}-{port}", **({"protocol": protocol} if protocol else {})}
            for port, kind, protocol in listed
        ]
        spec: Json = {"hosts": [host], "ports": ports, "resolution": resolution}
        every = ENTRY_ADDRESSES if resolution in ("NONE", "STATIC") else [a for a in ENTRY_ADDRESSES if "/" not in a]
        spec["addresses"] = draw(some(every, 2)) if resolution != "DYNAMIC_DNS" else []
        if resolution == "STATIC":
            ends = draw(some(MEMBERS[5:], 2, 1)) if draw(chance(90)) else []
            spec["endpoints"] = [{"address": a, "labels": {"version": f"v{n + 1}"}} for n, a in enumerate(ends)]
        spec["location"] = draw(choice("MESH_EXTERNAL", "MESH_INTERNAL"))
        if draw(chance(15)):
            spec["exportTo"] = draw(choice(["."], ["*"]))
        made = networking("ServiceEntry", f"e{number}", draw(choice(*SPACES)), spec)
        if not spec["addresses"] and draw(chance(60)):
            made["metadata"]["labels"] = {"networking.istio.io/enable-autoallocate-ip": "true"}
        found.append(made)
    return found


# What is said about it


def known(documents: list[Json]) -> Hosts:
    """Hosts that the documents declare, each with its ports."""
    found: Hosts = {}
    for each in documents:
        meta, spec = each["metadata"], each["spec"]
        if each["kind"] in ("Service", "ServiceEntry"):
            names = spec.get("hosts") or [full_name(meta["name"], meta["namespace"])]
            ports = [port.get("port", port.get("number")) for port in spec["ports"]]
            found |= dict.fromkeys(names, ports)
    return found


def strings() -> st.SearchStrategy[Json]:
    return choice({"exact": "anna"}, {"prefix": "a"}, {"regex": "a.*a|red"}, {"exact": ""}, {"regex": ".*"})


@st.composite
def http_match(draw: Draw) -> Json:
    found: Json = {}
    if draw(chance(70)):
        found["uri"] = draw(
            choice({"prefix": "/api"}, {"exact": "/api"}, {"prefix": "/"}, {"regex": "/a.*"}, {"prefix": "/old/"})
        )
        if draw(chance(15)):
            found["ignoreUriCase"] = True
    if draw(chance(30)):
        found["headers"] = {draw(choice("x-user", "x-team", "x-none")): draw(strings())}
    if draw(chance(10)):
        found["withoutHeaders"] = {draw(choice("x-user", "x-team")): draw(strings())}
    if draw(chance(10)):
        found["method"] = {"exact": draw(choice("GET", "POST"))}
    if draw(chance(10)):
        found["queryParams"] = {"x": draw(choice({"exact": "1"}, {"regex": ".*"}))}
    if draw(chance(10)):
        found["authority"] = draw(choice({"prefix": "a."}, {"exact": "one.example.com"}))
    if draw(chance(10)):
        found["port"] = draw(choice(80, 8000))
    if draw(chance(10)):
        found["sourceLabels"] = {"app": draw(choice("web", "another"))}
    return found


@st.composite
def destination(draw: Draw, hosts: Hosts) -> Json:
    plain = [each for each in hosts if not each.startswith("*")]
    host = draw(st.sampled_from(plain)) if plain and draw(chance(92)) else "nowhere.example.com"
    found: Json = {"host": host}
    if draw(chance(25)):
        found["subset"] = draw(choice("v1", "v2", "none"))
    if draw(chance(60)):
        usual = hosts.get(host, [80]) if draw(chance(80)) else [80, 443, 8000, 9000, 7000]
        found["port"] = {"number": draw(st.sampled_from(usual))}
    return found


REDIRECTS = (
    {"uri": "/new"},
    {"authority": "new.test"},
    {"uri": "%PREFIX()%/x", "redirectCode": 302},
    {"scheme": "https"},
    {"port": 8443},
    {"derivePort": "FROM_REQUEST_PORT", "authority": "n.test"},
)
REWRITES = (
    {"uri": "/new"},
    {"authority": "inner.test"},
    {"uri": "/", "authority": "inner.test"},
    {"uriRegexRewrite": {"match": "^/a(.*)", "rewrite": "/b\\1"}},
)
CHANGED_HEADERS = (
    {"set": {"x-user": "set"}, "remove": ["x-team"]},
    {"add": {"x-user": "more", "x-new": "1"}},
    {"remove": ["x-user"], "add": {"x-user": "again"}},
)
SHARES = ({}, {"percentage": {"value": 0}}, {"percentage": {"value": 100}})
RETRIES = ({"attempts": 0}, {"attempts": 1}, {"attempts": 3, "retryOn": "5xx"})


@st.composite
def http_route(draw: Draw, hosts: Hosts) -> Json:
    found: Json = {"match": draw(st.lists(http_match(), min_size=1, max_size=2))} if draw(chance(65)) else {}
    form = draw(choice(*["route"] * 6, "weights", "weights", "redirect", "direct"))
    if form == "redirect":
        return {**found, "redirect": draw(choice(*REDIRECTS))}
    if form == "direct":
        return {**found, "directResponse": {"status": draw(choice(200, 403, 503)), "body": {"string": "ours"}}}
    weights = draw(choice((0, 100), (100, 0), (30, 70))) if form == "weights" else (0,)
    found["route"] = [
        {"destination": draw(destination(hosts)), **({"weight": each} if len(weights) > 1 else {})} for each in weights
    ]
    return {**found, **draw(traffic(hosts))}


@st.composite
def traffic(draw: Draw, hosts: Hosts) -> Json:
    """What an HTTP rule says beside where the request goes."""
    found: Json = {}
    if draw(chance(40)):
        found["rewrite"] = draw(choice(*REWRITES))
    if draw(chance(20)):
        abort = {"httpStatus": draw(choice(418, 503)), "percentage": {"value": draw(choice(0, 100))}}
        found["fault"] = {"abort": abort}
    if draw(chance(35)):
        found["headers"] = {"request": draw(choice(*CHANGED_HEADERS))}
    if draw(chance(30)):
        found["timeout"] = draw(choice("0.3s", "0.3s", "0s"))
    if draw(chance(30)):
        found["retries"] = draw(choice(*RETRIES))
    if draw(chance(30)):
        found["mirrors"] = [{"destination": draw(destination(hosts)), **draw(choice(*SHARES))}]
    return found


@st.composite
def virtual_service(draw: Draw, number: int, hosts: Hosts) -> Json:
    spec: Json = {"hosts": draw(some([*hosts, *hosts, "q.example.com", "new.test"], 2, 1))}
    kind = draw(choice(*["http"] * 6, "tls", "tcp"))
    if kind == "http":
        spec["http"] = draw(st.lists(http_route(hosts), min_size=1, max_size=3))
    elif kind == "tls":
        sni = draw(some([*spec["hosts"], "x.wild.example.com"], 2, 1))
        match = {"port": 443, "sniHosts": sni}
        spec["tls"] = [{"match": [match], "route": [{"destination": draw(destination(hosts))}]}]
    else:
        match = draw(choice({"port": 9000}, {"port": 80}, {"destinationSubnets": ["10.96.0.0/24"]}, {}))
        spec["tcp"] = [{**({"match": [match]} if match else {}), "route": [{"destination": draw(destination(hosts))}]}]
    if draw(chance(10)):
        spec["exportTo"] = ["."]
    return networking("VirtualService", f"v{number}", draw(choice(*SPACES)), spec)


@st.composite
def destination_rule(draw: Draw, number: int, hosts: Hosts) -> Json:
    spec: Json = {"host": draw(st.sampled_from(list(hosts)))}
    spec["subsets"] = [{"name": each, "labels": {"version": each}} for each in draw(choice(["v1"], ["v1", "v2"], []))]
    policy: Json = {}
    if draw(chance(25)):
        policy["tls"] = draw(
            choice(
                {"mode": "SIMPLE", "insecureSkipVerify": True},
                {"mode": "SIMPLE", "insecureSkipVerify": True, "sni": "sent.test"},
                {"mode": "DISABLE"},
            )
        )
    if draw(chance(20)):
        policy["loadBalancer"] = draw(
            choice({"simple": "PASSTHROUGH"}, {"simple": "RANDOM"}, {"consistentHash": {"httpHeaderName": "x-user"}})
        )
    if draw(chance(10)):
        policy["connectionPool"] = {"http": {"h2UpgradePolicy": "UPGRADE"}}
    if policy:
        spec["trafficPolicy"] = policy
    if draw(chance(10)):
        spec["exportTo"] = ["."]
    return networking("DestinationRule", f"d{number}", draw(choice(*SPACES)), spec)


@st.composite
def sidecar(draw: Draw, mode: Mode, addresses: Sequence[str]) -> Json:
    """Under TPROXY its ingress listeners lead to one address, which clients of the other family cannot come to."""
    hosts = draw(choice(["*/*"], ["./*"], ["other/*"], ["*/one.example.com", "./*"], ["~/*"]))
    spec: Json = {"egress": [{"hosts": hosts}]}
    if draw(chance(25 if mode == "REDIRECT" else 70)):
        protocol = draw(choice("HTTP", "TCP", "HTTP", "TLS"))
        port = {"number": draw(choice(*BOUND_PORTS)), "name": "p", "protocol": protocol}
        bound = {"bind": "127.0.0.1", "captureMode": "NONE"} if mode == "NONE" or draw(chance(20)) else {}
        spec["egress"].insert(0, {"hosts": ["*/*"], "port": port, **bound})
    if draw(chance(40)):
        spec["outboundTrafficPolicy"] = {"mode": draw(choice("REGISTRY_ONLY", "ALLOW_ANY"))}
    if (mode != "TPROXY" or len(addresses) == 1) and draw(chance(20 if mode == "REDIRECT" else 50)):
        ingress = {
            "port": {"number": 8080 if mode != "NONE" else 8082, "name": "in", "protocol": draw(choice("HTTP", "TCP"))},
            "defaultEndpoint": "0.0.0.0:8081" if mode == "TPROXY" else "127.0.0.1:8081",
        }
        spec["ingress"] = [ingress]
    return networking("Sidecar", "default", NAMESPACE, spec)


# A world

ANNOTATIONS = (
    {},
    {},
    {},
    {"traffic.sidecar.istio.io/excludeOutboundPorts": "9000"},
    {"traffic.sidecar.istio.io/includeOutboundIPRanges": "10.96.0.0/16,198.51.100.0/24,fd00:10:96::/112"},
    {"traffic.sidecar.istio.io/excludeInboundPorts": "8081"},
)


@st.composite
def worlds(draw: Draw, mode: Mode = "REDIRECT") -> list[Json]:
    """The documents of one world, the Pod and the mesh configuration among them."""
    addresses = draw(choice((ADDRESS,), (ADDRESS,), (ADDRESS, ADDRESS6), (ADDRESS6, ADDRESS), (ADDRESS6,)))
    registry = suiting([*draw(services()), *draw(entries())], addresses)
    hosts = known(registry)
    annotations = {**draw(choice(*ANNOTATIONS)), **({} if mode == "REDIRECT" else {MODE: mode})}
    if mode == "REDIRECT" and ADDRESS in addresses and draw(chance(40)):  # its resolver is asked over IPv4
        annotations[PROXY_CONFIG] = yaml.safe_dump({"proxyMetadata": {"ISTIO_META_DNS_CAPTURE": "true"}})
    found = [own_pod(annotations, addresses), *registry]
    found += [draw(virtual_service(n, hosts)) for n in range(draw(choice(0, 1, 2, 3, 4)))]
    found += [draw(destination_rule(n, hosts)) for n in range(draw(st.integers(0, 2)))]
    found += [draw(sidecar(mode, addresses))] if draw(chance(25 if mode == "REDIRECT" else 70)) else []
    found += draw(policies.said_of_the_pod(often=True))
    certified = draw(chance(35))
    found += [draw(policies.peers())] if certified and draw(chance(70)) else []
    policy = draw(choice("ALLOW_ANY", "ALLOW_ANY", "REGISTRY_ONLY"))
    made = mesh(policy, draw(choice(None, None, "0.3s")), draw(choice(0, 0, 0, PROXY_PORT)))
    labels = [ONE_FAMILY] if draw(chance(25)) else []
    made["metadata"]["labels"] = dict([*labels, *([CERTIFIED] if certified else [])])
    return [*found, made]


def suiting(registry: list[Json], addresses: Sequence[str]) -> list[Json]:
    """What one Envoy can run that runs all worlds, for a Pod with these addresses.

    Without the ServiceEntries' addresses that are the second address of a Service: Envoy refuses two listeners that
    have one of several addresses in common. Names are resolved on demand for one kind of Pod alone: a cache of names
    keeps its address family as long as the process lives.
    """
    seconds = {ip for each in registry for ip in each["spec"].get("clusterIPs", ())[1:]}
    for spec in (each["spec"] for each in registry if each["kind"] == "ServiceEntry"):
        spec["addresses"] = [address for address in spec["addresses"] if address not in seconds]
        if spec["resolution"] == "DYNAMIC_DNS" and tuple(addresses) != (ADDRESS,):
            spec["resolution"] = "NONE"
    return registry


def own_pod(annotations: dict[str, str], addresses: Sequence[str]) -> Json:
    meta = {"annotations": annotations} if annotations else {}
    return pod(POD, NAMESPACE, {"app": "web", "version": "v1"}, addresses, **meta)


def mesh(mode: str, detection: str | None = None, proxy_port: int = 0) -> Json:
    config: Json = {"outboundTrafficPolicy": {"mode": mode}, "accessLogFile": "/dev/null", "accessLogEncoding": "JSON"}
    if proxy_port:
        config["proxyHttpPort"] = proxy_port
    config["accessLogFormat"] = LOG
    if detection:
        config["protocolDetectionTimeout"] = detection
    found = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "istio", "namespace": "istio-system"}}
    return {**found, "data": {"mesh": yaml.safe_dump(config)}}


def logging_to(documents: list[Json], path: str) -> list[Json]:
    """The world with its access log in this file."""
    return [
        {**each, "data": {"mesh": each["data"]["mesh"].replace("/dev/null", path)}}
        if each["kind"] == "ConfigMap"
        else each
        for each in documents
    ]


# Connections


@st.composite
def questions(draw: Draw, documents: list[Json]) -> Question:
    inbound = draw(chance(25))
    ip, port, name = draw(arriving(documents) if inbound else leaving(documents))
    by_name = not inbound and ip != PLAIN_LOOPBACK and captures_names(documents) and draw(chance(50))
    protocol = draw(choice("http", "http", "http", "http", "http2", "grpc", "tls", "https", "tcp", "first"))
    if port in WEB and draw(chance(60)):
        protocol = "http"
    if port == 443 and draw(chance(70)):
        protocol = draw(choice("tls", "https"))
    if port == 3306 and draw(chance(80)):
        protocol = "first"
    host = draw(authority(name, port))
    outside = OUTSIDE6 if ":" in ip else draw(choice(OUTSIDE, ELSEWHERE))
    return Question(
        to=name if by_name else ip,
        ip="" if by_name else ip,
        port=port,
        protocol="tcp" if protocol == "first" else protocol,
        sni=draw(choice(name, name, "one.example.com", "unknown.test")) if protocol in ("tls", "https") else "",
        host=host if protocol in ("http", "http2", "grpc", "https") else "",
        path=draw(choice(*PATHS)),
        method="POST" if protocol == "grpc" else draw(choice(*METHODS)),
        headers=draw(headers()),
        http_version=draw(choice("", "", "", "", "", "", "", "1.0")) if protocol == "http" else "",
        server_first=protocol == "first",
        direction="inbound" if inbound else "outbound",
        source_ip=outside if inbound else "",
        principal=CALLER_NAME if inbound and protocol in ("http", "tcp") and draw(chance(30)) else "",
    )


@st.composite
def headers(draw: Draw) -> tuple[tuple[str, str], ...]:
    tokens = [draw(choice(*policies.TOKENS))] if draw(chance(10)) else []
    return tuple(dict([*draw(some(HEADERS, 2)), *tokens]).items())


@st.composite
def authority(draw: Draw, name: str, port: int) -> str:
    forms = [*[name] * 6, f"{name}:{port}", name.upper(), f"{name}:9999", "unknown.test", ""]
    if name.endswith(".svc.cluster.local"):
        short, space = name.split(".")[:2]
        forms += [short, f"{short}.{space}", f"{short}:{port}", f"{short}.{space}.svc"]
    return draw(st.sampled_from(forms))


@st.composite
def leaving(draw: Draw, documents: list[Json]) -> tuple[str, int, str]:
    """Address, port and a name that belongs to them, or nearly."""
    found = [each for each in documents if each["kind"] in ("Service", "ServiceEntry")]
    ruled = {host for each in documents if each["kind"] == "VirtualService" for host in each["spec"]["hosts"]}
    ruled_ones = [each for each in found if ruled & {*known([each])}]
    each = draw(st.sampled_from(ruled_ones if ruled_ones and draw(chance(75)) else found))
    spec, meta = each["spec"], each["metadata"]
    if each["kind"] == "Service":
        name, ports = full_name(meta["name"], meta["namespace"]), [p["port"] for p in spec["ports"]]
        others = [d for d in documents if d["kind"] == "Pod" and d["metadata"]["name"] != POD]
        pods = [each["ip"] for d in others for each in d["status"]["podIPs"]]
        addresses = pods if spec["clusterIP"] == "None" else spec["clusterIPs"] * 4 + pods[:2]
    else:
        name, ports = draw(st.sampled_from([*spec["hosts"] * 6, *NAMED])), [p["number"] for p in spec["ports"]]
        name = name.replace("*", "x")
        inside = (a.replace("0/24", "77").replace("::/64", "::77") for a in spec["addresses"])
        addresses = [*inside, "198.18.0.7"]
    own = families(documents)
    known_ones = [a for a in addresses if (":" in a) in own]
    strangers = [a for a in (*STRANGERS, *VIPS, *VIPS6) if (":" in a) in own]
    address = draw(st.sampled_from(known_ones if known_ones and draw(chance(88)) else strangers))
    usual = [port for port in ports if port in WEB] if draw(chance(65)) else ports
    port = draw(st.sampled_from(usual or ports)) if draw(chance(88)) else draw(choice(80, 443, 8000, 9000, 7777))
    if False in own and draw(chance(5)):
        return draw(choice(PLAIN_LOOPBACK, ADDRESS)), draw(choice(*APPLICATION_PORTS[:2])), full_name("web", NAMESPACE)
    bound = list(bound_ports(documents)) if False in own else []
    if bound and draw(chance(85 if alone(documents) else 40)):
        return PLAIN_LOOPBACK, draw(st.sampled_from(bound)), name
    return address, port, name


PLAIN_LOOPBACK = "127.0.0.1"


def families(documents: list[Json]) -> set[bool]:
    """Whether the Pod has addresses of IPv4 (False) and of IPv6 (True)."""
    return {":" in each["ip"] for d in documents if d["metadata"]["name"] == POD for each in d["status"]["podIPs"]}


def captures_names(documents: list[Json]) -> bool:
    return any(PROXY_CONFIG in each["metadata"].get("annotations", {}) for each in documents)


def alone(documents: list[Json]) -> bool:
    """Whether no packet rules lead to the Pod's proxy."""
    return any(each["metadata"].get("annotations", {}).get(MODE) == "NONE" for each in documents)


def bound_ports(documents: list[Json]) -> Iterator[int]:
    """Where the Pod's proxy listens on loopback itself."""
    every = alone(documents)
    for each in documents:
        if each["kind"] == "Sidecar":
            yield from (e["port"]["number"] for e in each["spec"]["egress"] if "bind" in e)
        if every and each["kind"] in ("Service", "ServiceEntry"):
            yield from (port.get("port", port.get("number")) for port in each["spec"]["ports"])
        if each["kind"] == "ConfigMap" and "proxyHttpPort" in each["data"]["mesh"]:
            yield PROXY_PORT


@st.composite
def arriving(draw: Draw, documents: list[Json]) -> tuple[str, int, str]:
    own = families(documents)
    address = draw(choice(*(ADDRESS6 if six else ADDRESS for six in sorted(own))))
    return address, draw(choice(*APPLICATION_PORTS, 8080, 8082, 7777)), full_name("web", NAMESPACE)


def as_yaml(documents: list[Json]) -> str:
    return "---\n".join(yaml.safe_dump(each, sort_keys=False, width=120) for each in documents)
