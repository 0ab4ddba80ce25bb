"""Legs joined from recorded tables: through the sidecar, blocked by it, around it."""

import os

import msgspec
import pytest

from tidegate.capture import conntrack, sockets
from tidegate.capture.connections import Observed, Verdict, Workload, join, observe
from tidegate.capture.conntrack import Place
from tidegate.capture.kernel import CaptureError, Kernel
from tidegate.capture.sockets import Owner

POD = "10.64.192.14"
BLOCKED = (
    f"ipv4     2 tcp      6 110 TIME_WAIT src={POD} dst=10.0.0.6 sport=50498 dport=7000 "
    f"src=127.0.0.1 dst={POD} sport=15001 dport=50498 [ASSURED] mark=0 zone=0 use=2\n"
)
ALLOWED = (
    f"ipv4     2 tcp      6 104 TIME_WAIT src={POD} dst=10.0.0.6 sport=38952 dport=7003 "
    f"src=127.0.0.1 dst={POD} sport=15001 dport=38952 [ASSURED] mark=0 zone=0 use=2\n"
    f"ipv4     2 tcp      6 104 TIME_WAIT src={POD} dst=10.0.0.6 sport=38954 dport=7003 "
    f"src=10.0.0.6 dst={POD} sport=7003 dport=38954 [ASSURED] mark=0 zone=0 use=2\n"
)


def flow(source, destination, answered_by=None, state="ESTABLISHED", seconds=431000):
    (a, p), (b, q) = source.split(":"), destination.split(":")
    c, r = (answered_by or destination).split(":")
    return (
        f"ipv4 2 tcp 6 {seconds} {state} src={a} dst={b} sport={p} dport={q} "
        f"src={c} dst={a} sport={r} dport={p} [ASSURED] use=1\n"
    )


def hexed(place):
    address, port = place.split(":")
    return "".join(f"{int(part):02X}" for part in reversed(address.split("."))) + f":{int(port):04X}"


def sock(local, remote, uid=0, inode=1, state="01"):
    return f"0: {hexed(local)} {hexed(remote)} {state} 00000000:00000000 00:00000000 00000000 {uid} 0 {inode} 1 0 20\n"


def seen(table="", socks="", owners=None):
    return Observed(tuple(conntrack.parse(table)), tuple(sockets.parse(socks)), owners or {})


def told(observed, **workload):
    return join(observed, Workload(frozenset({POD}), **workload))


@pytest.mark.claim("C000-15")
def test_c000_15_a_blocked_connection_shows_one_entry_and_an_allowed_one_two():
    found = {c.destination: c for c in told(seen(BLOCKED + ALLOWED))}
    assert set(found) == {"10.0.0.6:7000", "10.0.0.6:7003"}
    blocked, allowed = found["10.0.0.6:7000"], found["10.0.0.6:7003"]
    assert (blocked.verdict, blocked.legs, blocked.upstream) == (Verdict.BLOCKED, 1, ())
    assert (allowed.verdict, allowed.legs, allowed.upstream) == (Verdict.THROUGH, 2, ("10.0.0.6:7003",))


@pytest.mark.claim("C000-11")
def test_c000_11_an_excluded_range_has_no_leg_to_the_sidecar():
    table = flow(f"{POD}:40000", "10.0.0.6:7000")
    observed = seen(table, sock(f"{POD}:40000", "10.0.0.6:7000", uid=1000, inode=7), {7: Owner(42, "app")})
    (found,) = told(observed)
    assert (found.verdict, found.legs, found.owner) == (Verdict.BYPASSED, 1, "app/42")


def test_a_program_with_the_proxys_user_id_bypasses_too():
    table = flow(f"{POD}:40000", "10.0.0.6:7000")
    socks = sock(f"{POD}:40000", "10.0.0.6:7000", uid=1337, inode=7)
    assert told(seen(table, socks, {7: Owner(42, "nc")}))[0].verdict is Verdict.BYPASSED
    assert told(seen(table, socks, {7: Owner(42, "envoy")}))[0].verdict is Verdict.POOLED


def test_under_tproxy_the_proxy_is_told_by_its_group():
    table = flow(f"{POD}:40000", "203.0.113.9:443")
    socks = sock(f"{POD}:40000", "203.0.113.9:443", uid=0, inode=7)
    for group, verdict in ((1337, Verdict.POOLED), (0, Verdict.BYPASSED)):
        (found,) = told(seen(table, socks, {7: Owner(9, "envoy", group)}))
        assert found.verdict is verdict, group


def test_a_service_is_followed_to_an_endpoint_of_its_port():
    table = flow(f"{POD}:40000", "10.96.0.1:80", "127.0.0.1:15001") + flow(f"{POD}:40001", "10.64.0.9:8080")
    socks = sock(f"{POD}:40001", "10.64.0.9:8080", uid=1337, inode=9)
    known = {80: frozenset({Place("10.64.0.9", 8080)})}
    (found,) = told(seen(table, socks, {9: Owner(5, "envoy")}), upstreams=known)
    assert (found.verdict, found.upstream) == (Verdict.THROUGH, ("10.64.0.9:8080",))
    other_port = {81: known[80]}
    verdicts = {c.verdict for c in told(seen(table, socks, {9: Owner(5, "envoy")}), upstreams=other_port)}
    assert verdicts == {Verdict.BLOCKED, Verdict.POOLED}


def test_asking_onwards_without_an_answer_is_neither_through_nor_blocked():
    first = flow(f"{POD}:40000", "10.0.0.6:7000", "127.0.0.1:15001")
    asking = flow(f"{POD}:40001", "10.0.0.6:7000", state="SYN_SENT", seconds=100)
    (found,) = told(seen(first + asking))
    assert (found.verdict, found.legs, found.upstream) == (Verdict.UNANSWERED, 2, ("10.0.0.6:7000",))
    alone = told(seen(asking, sock(f"{POD}:40001", "10.0.0.6:7000", uid=1337, inode=3), {3: Owner(1, "envoy")}))
    assert [c.verdict for c in alone] == [Verdict.UNANSWERED]


def test_an_answered_endpoint_counts_before_an_unanswered_address():
    table = (
        flow(f"{POD}:40000", "10.96.0.1:80", "127.0.0.1:15001")
        + flow(f"{POD}:40001", "10.96.0.1:80", state="SYN_SENT", seconds=100)
        + flow(f"{POD}:40002", "10.64.0.9:8080")
    )
    found = told(seen(table), upstreams={80: frozenset({Place("10.64.0.9", 8080)})})
    assert [(c.verdict, c.upstream) for c in found if c.legs == 2] == [(Verdict.THROUGH, ("10.64.0.9:8080",))]


def test_legs_that_ended_at_other_times_are_not_of_one_connection():
    first = flow(f"{POD}:40000", "10.0.0.6:7000", "127.0.0.1:15001", "TIME_WAIT", 110)
    earlier = flow(f"{POD}:40001", "10.0.0.6:7000", state="TIME_WAIT", seconds=60)
    verdicts = {c.source: c.verdict for c in told(seen(first + earlier))}
    assert verdicts[f"{POD}:40000"] is Verdict.BLOCKED


@pytest.mark.parametrize(("port", "legs", "verdict"), [(8080, 2, Verdict.THROUGH), (8081, 1, Verdict.BLOCKED)])
def test_what_arrives_is_followed_to_the_application(port, legs, verdict):
    table = flow("10.64.0.2:5000", f"{POD}:{port}", f"{POD}:15006") + flow("127.0.0.6:3333", f"{POD}:8080")
    socks = sock(f"{POD}:8080", "127.0.0.6:3333", inode=4)
    (found,) = told(seen(table, socks, {4: Owner(6, "server")}))
    assert (found.direction, found.legs, found.verdict) == ("inbound", legs, verdict)
    assert found.owner == ("server/6" if legs == 2 else "")


def test_health_and_metrics_are_the_sidecars_own_and_an_excluded_inbound_port_is_not():
    table = flow("10.64.0.1:5000", f"{POD}:15021") + flow("10.64.0.1:5001", f"{POD}:22")
    found = {c.destination: c.verdict for c in told(seen(table))}
    assert found == {f"{POD}:15021": Verdict.SIDECAR, f"{POD}:22": Verdict.BYPASSED}


def test_without_a_sidecar_and_without_a_connection_table_the_sockets_tell():
    socks = (
        sock("0.0.0.0:9000", "0.0.0.0:0", state="0A", inode=1)
        + sock(f"{POD}:9000", "10.64.0.2:5000", inode=2)
        + sock(f"{POD}:40000", "10.0.0.6:7000", inode=3)
        + sock("127.0.0.1:1", "127.0.0.1:2", inode=4)
    )
    found = told(seen("", socks, {2: Owner(1, "echo")}), sidecar=False)
    assert [(c.direction, c.source, c.destination, c.owner, c.verdict) for c in found] == [
        ("inbound", "10.64.0.2:5000", f"{POD}:9000", "echo/1", Verdict.DIRECT),
        ("outbound", f"{POD}:40000", "10.0.0.6:7000", "", Verdict.DIRECT),
    ]


def test_what_a_workload_says_to_itself_is_left_out():
    assert told(seen(flow("127.0.0.1:1", "127.0.0.1:15000") + flow(f"{POD}:5", f"{POD}:8080"))) == ()


def test_lines_that_cannot_be_read_are_passed_over():
    table = (
        f"ipv4 2 udp 17 20 src={POD} dst=10.0.0.53 sport=5 dport=53 [UNREPLIED] "
        f"src=10.0.0.53 dst={POD} sport=53 dport=5\n"
        "ipv4 2 icmp 1 20 src=1.1.1.1 dst=2.2.2.2 type=8 code=0 id=1\nconntrack v1.4: 2 flow entries\n\x00\n"
    )
    flows = list(conntrack.parse(table))
    assert [(f.protocol, f.state, f.original.destination.port) for f in flows] == [("udp", "", 53)]
    assert [c.destination for c in told(seen(table))] == ["10.0.0.53:53"]


def test_sockets_of_both_families_have_one_spelling():
    mapped = "0000000000000000FFFF00000E C0400A".replace(" ", "")
    line = f"1: {mapped}:1F90 {mapped}:0050 01 0:0 0:0 0 1337 0 77 1\n"
    (found,) = sockets.parse("sl local_address rem_address\n" + line)
    assert (str(found.local), found.state, found.uid, found.inode) == (f"{POD}:8080", "ESTABLISHED", 1337, 77)
    assert str(Place("::1", 80)) == "[::1]:80"


def test_only_root_can_look(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(CaptureError, match="root only; use sudo"):
        observe(Kernel(netns="none"), 0)


class NoFile(Kernel, frozen=True, kw_only=True):
    """A kernel without /proc/net/nf_conntrack and IPv6."""

    tool: bool = True

    def run(self, command, text=""):
        if command[-1].endswith(("nf_conntrack", "tcp6")) or (command[0] == "conntrack" and not self.tool):
            raise CaptureError(f"{command[0]} failed")
        return BLOCKED if command[0] == "conntrack" else sock(f"{POD}:1", "10.0.0.6:2")


def test_the_tool_is_asked_where_there_is_no_file(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    found = observe(NoFile(), 0)
    assert [str(f.original.destination) for f in found.flows] == ["10.0.0.6:7000"]
    assert len(found.sockets) == 1
    with pytest.raises(CaptureError, match="install the Debian package conntrack"):
        observe(NoFile(tool=False), 0)


def test_it_is_data():
    plain = msgspec.to_builtins(told(seen(BLOCKED))[0])
    assert plain["verdict"] == "blocked"
    assert list(plain)[:3] == ["direction", "protocol", "state"]


def datagram(source, destination, answered_by=None):
    (a, p), (b, q) = source.split(":"), destination.split(":")
    c, r = (answered_by or destination).split(":")
    return f"ipv4 2 udp 17 25 src={a} dst={b} sport={p} dport={q} src={c} dst={a} sport={r} dport={p} use=1\n"


@pytest.mark.parametrize(
    ("line", "sidecar", "expected"),
    [
        (datagram(f"{POD}:4000", "10.0.0.53:53"), True, ("outbound", Verdict.UNCAPTURED)),
        (datagram("10.64.0.9:4000", f"{POD}:6000"), True, ("inbound", Verdict.UNCAPTURED)),
        (datagram(f"{POD}:4000", "10.0.0.53:53", "127.0.0.1:15053"), True, ("outbound", Verdict.SIDECAR)),
        (datagram(f"{POD}:4000", "10.0.0.53:53"), False, ("outbound", Verdict.DIRECT)),
    ],
)
def test_udp_goes_around_the_sidecar_and_is_shown_as_such(line, sidecar, expected):
    (found,) = told(seen(line), sidecar=sidecar)
    assert (found.protocol, found.legs, found.upstream) == ("udp", 1, ())
    assert (found.direction, found.verdict) == expected


def test_datagrams_within_a_workload_are_left_out():
    assert told(seen(datagram("127.0.0.1:4000", "127.0.0.1:6000"))) == ()


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("later", [110, 112])
def test_two_connections_to_one_place_that_went_to_two_are_told_apart(turned, later):
    """As when an object takes a port between the one and the other."""
    place, redis, queue = "10.0.0.6:7000", f"{POD}:40001", f"{POD}:40011"
    ended = {"state": "TIME_WAIT"}
    lines = [
        flow(f"{POD}:40000", place, "127.0.0.1:15001", seconds=110, **ended),
        flow(redis, place, seconds=110, **ended),
        flow(f"{POD}:40010", place, "127.0.0.1:15001", seconds=later, **ended),
        flow(queue, "10.0.0.6:9000", seconds=later, **ended),
    ]
    upstreams = {7000: frozenset({Place("10.0.0.6", 9000)})}
    found = told(seen("".join(reversed(lines) if turned else lines)), upstreams=upstreams)
    assert [c.verdict for c in found] == [Verdict.THROUGH] * 2
    assert {c.upstream for c in found} == {(place,), ("10.0.0.6:9000",)}
    if later != 110:
        assert {c.source: c.upstream for c in found}[f"{POD}:40010"] == ("10.0.0.6:9000",)


def test_tproxy_rewrites_nothing_and_is_told_by_who_has_the_sockets():
    first = flow("10.64.0.2:5000", f"{POD}:8080")
    second = flow("10.64.0.2:6000", f"{POD}:8080")
    socks = (
        sock(f"{POD}:8080", "10.64.0.2:5000", uid=1337, inode=1)
        + sock("10.64.0.2:6000", f"{POD}:8080", uid=1337, inode=2)
        + sock(f"{POD}:8080", "10.64.0.2:6000", inode=3)
    )
    owners = {1: Owner(1, "envoy"), 2: Owner(1, "envoy"), 3: Owner(6, "server")}
    (found,) = told(seen(first + second, socks, owners))
    assert (found.direction, found.source, found.legs, found.verdict, found.owner) == (
        "inbound",
        "10.64.0.2:5000",
        2,
        Verdict.THROUGH,
        "server/6",
    )
    (alone,) = told(seen(first, sock(f"{POD}:8080", "10.64.0.2:5000", uid=1337, inode=1), {1: Owner(1, "envoy")}))
    assert (alone.legs, alone.verdict) == (1, Verdict.BLOCKED)


def test_a_socket_that_the_kernel_does_not_track_is_its_users():
    """So that rules are asked for the proxy's own as the proxy's."""
    kept = sock(f"{POD}:5000", "10.0.0.6:8000", uid=1337, inode=9)
    (found,) = told(seen(socks=kept, owners={9: Owner(7, "envoy", 1337)}), sidecar=True)
    assert (found.verdict, found.user, found.group) == (Verdict.POOLED, 1337, 1337)
    arrived = sock(f"{POD}:80", "10.0.0.6:9000", inode=4) + sock(f"{POD}:80", "0.0.0.0:0", inode=5, state="0A")
    assert {c.user for c in told(seen(socks=arrived), sidecar=True)} == {None}
