"""Who talks to whom in one workload's namespace: through its Envoy in two legs, around it, or no further than it.

A redirected connection has its own entry in the kernel's connection table, whose answers come from Envoy's port. The
connection that Envoy then makes is another entry. Where that second leg is missing, Envoy answered by itself or
refused; where there is no first leg, the mesh was bypassed.
"""

import enum
import os
from collections.abc import Mapping
from ipaddress import ip_address

import msgspec

from tidegate.capture import conntrack, sockets
from tidegate.capture.conntrack import Flow, Place
from tidegate.capture.kernel import CaptureError, Kernel
from tidegate.capture.sockets import Owner, Socket

OUTBOUND_PORT, INBOUND_PORT = 15001, 15006
SIDECAR_PORTS = frozenset({15001, 15006, 15020, 15021, 15090})
PROXY_ID, PROXY_NAME = 1337, "envoy"
"""User and group of the proxy; under TPROXY it runs as root, of that group."""
INBOUND_SOURCES = frozenset({"127.0.0.6", "::6"})
"""From where Envoy asks the application, so that the capture rules let it pass."""

TOGETHER_SECONDS = 3
"""Between the ends of two legs of one connection."""

_ENDED = "TIME_WAIT"
_ASKING = ("SYN_SENT", "SYN_SENT2")
_TABLE = "/proc/net/nf_conntrack"


class Verdict(enum.StrEnum):
    """What the legs of a connection say."""

    THROUGH = "through"
    """Two legs: to Envoy, and from Envoy on."""
    BLOCKED = "blocked"
    """One leg, to Envoy: it answered by itself, or refused."""
    UNANSWERED = "unanswered"
    """Envoy asks onwards, and nobody has answered."""
    BYPASSED = "bypassed"
    """Around Envoy."""
    POOLED = "pooled"
    """A connection that Envoy keeps, of a caller that has gone."""
    SIDECAR = "sidecar"
    """To a port of the sidecar itself: health, metrics."""
    UNCAPTURED = "uncaptured"
    """UDP: the sidecar carries TCP alone."""
    DIRECT = "direct"
    """The workload has no sidecar."""


class Connection(msgspec.Struct, frozen=True, rename="camel"):
    """One connection as the application, or a client of it, sees it."""

    direction: str
    """"outbound" or "inbound"."""
    protocol: str
    state: str
    source: str
    destination: str
    """What was asked for, before any redirection."""
    owner: str
    """The application's process; "" once the socket is closed."""
    legs: int
    upstream: tuple[str, ...]
    """Destinations of the second leg; several where Envoy shares connections among callers."""
    verdict: Verdict
    user: int | None = None
    """Of the process that asks outwards; None where its socket is closed, and for what arrives."""
    group: int | None = None
    rule: str = ""
    """The packet rule that decides its way; "" where no rule speaks, or nobody looked."""
    because: str = ""
    """That rule in words, or why there is none."""


class Observed(msgspec.Struct, frozen=True):
    """What the kernel tells of one namespace at one time."""

    flows: tuple[Flow, ...]
    sockets: tuple[Socket, ...]
    owners: Mapping[int, Owner] = {}


class Workload(msgspec.Struct, frozen=True):
    """Whose namespace it is."""

    addresses: frozenset[str]
    sidecar: bool = True
    upstreams: Mapping[int, frozenset[Place]] = {}
    """Service port to the endpoints that its Envoy knows: where the second leg of a connection to it may lead."""


def observe(kernel: Kernel, netns_inode: int) -> Observed:
    """Look at a namespace. Raises CaptureError when the caller is not root, or a table cannot be read."""
    if os.geteuid() != 0:
        raise CaptureError("other users' sockets and namespaces can be read by root only; use sudo")
    tables = kernel.run(["cat", "/proc/net/tcp"]) + _optional(kernel, "/proc/net/tcp6")
    found = tuple(sockets.parse(tables))
    return Observed(tuple(conntrack.parse(_entries(kernel))), found, sockets.owners(netns_inode))


def _entries(kernel: Kernel) -> str:
    """By the file where this kernel has it, else by the tool."""
    try:
        return kernel.run(["cat", _TABLE])
    except CaptureError as missing:
        try:
            return kernel.run(["conntrack", "-L", "-o", "extended"])
        except CaptureError as error:
            raise CaptureError(f"{missing}; install the Debian package conntrack ({error})") from error


def _optional(kernel: Kernel, path: str) -> str:
    """Empty where the kernel has no IPv6."""
    try:
        return kernel.run(["cat", path])
    except CaptureError:
        return ""


def join(seen: Observed, workload: Workload) -> tuple[Connection, ...]:
    """The connections of a workload, each with its legs. Those of its processes among themselves are left out."""
    return _Join(seen, workload).connections()


class _Join:
    def __init__(self, seen: Observed, workload: Workload) -> None:
        self._seen, self._workload = seen, workload
        self._by_ends = {(s.local, s.remote): s for s in seen.sockets if s.state != sockets.LISTEN}
        self._listening = {s.local.port for s in seen.sockets if s.state == sockets.LISTEN}
        self._tracked = {ends for flow in seen.flows for ends in _ends(flow)}
        self._second: list[Flow] = []
        self._used: set[Flow] = set()

    def connections(self) -> tuple[Connection, ...]:
        tcp = [flow for flow in self._seen.flows if flow.protocol == "tcp" and not self._within(flow)]
        first = [flow for flow in tcp if self._first_leg(flow)]
        others = [flow for flow in tcp if not self._first_leg(flow)]
        self._second = [flow for flow in others if self._of_envoy(flow) is not False and not self._arrives(flow)]
        rows = [self._redirected(flow) for flow in first]
        rows += [self._other(flow) for flow in others if flow not in self._used and not self._to_application(flow)]
        rows += [self._datagrams(flow) for flow in self._seen.flows if flow.protocol == "udp" and not self._inner(flow)]
        rows += [self._untracked(socket) for socket in self._seen.sockets if self._is_untracked(socket)]
        return tuple(sorted(rows, key=lambda c: (c.direction, c.verdict, c.destination, c.source)))

    # What an entry is

    def _own(self, address: str) -> bool:
        return address in self._workload.addresses or ip_address(address).is_loopback

    def _within(self, flow: Flow) -> bool:
        """Of the workload to itself, and not by way of Envoy."""
        ends = flow.original.source.address, flow.original.destination.address
        by_envoy = self._first_leg(flow) or ends[0] in INBOUND_SOURCES
        return self._own(ends[0]) and self._own(ends[1]) and not by_envoy

    def _inner(self, flow: Flow) -> bool:
        """Datagrams of the workload to itself."""
        ends = flow.original.source.address, flow.original.destination.address
        return self._own(ends[0]) and self._own(ends[1])

    def _first_leg(self, flow: Flow) -> bool:
        to = flow.rewritten_to
        return to is not None and to.port in (OUTBOUND_PORT, INBOUND_PORT) and self._own(to.address)

    def _arrives(self, flow: Flow) -> bool:
        return not self._own(flow.original.source.address)

    def _to_application(self, flow: Flow) -> bool:
        """Envoy asks the application: the second leg of what arrived, told with the first.

        Under TPROXY it asks from the caller's address, by a socket of this namespace.
        """
        source = flow.original.source
        borrowed = self._arrives(flow) and (source, flow.original.destination) in self._by_ends
        return source.address in INBOUND_SOURCES or borrowed

    def _socket(self, flow: Flow) -> Socket | None:
        ends = (flow.original.source, flow.original.destination)
        arrived = (flow.reply.source, flow.reply.destination)
        return self._by_ends.get(arrived if self._arrives(flow) else ends)

    def _of_envoy(self, flow: Flow) -> bool | None:
        """None where the socket is closed and nobody can tell."""
        socket = self._socket(flow)
        return None if socket is None or not socket.inode else self._has(socket)

    def _has(self, socket: Socket) -> bool:
        """Whether a socket is Envoy's: another program with its user id escapes the capture rules all the same."""
        owner = self._seen.owners.get(socket.inode)
        if owner is None:
            return socket.uid == PROXY_ID
        return owner.name == PROXY_NAME and PROXY_ID in (socket.uid, owner.group)

    def _owner(self, socket: Socket | None) -> str:
        owner = self._seen.owners.get(socket.inode) if socket is not None else None
        return str(owner) if owner is not None else ""

    # What it makes

    def _redirected(self, flow: Flow) -> Connection:
        inbound = flow.rewritten_to is not None and flow.rewritten_to.port == INBOUND_PORT
        onward = self._from_envoy_in(flow) if inbound else self._from_envoy_out(flow)
        self._used.update(onward)
        upstream = tuple(dict.fromkeys(str(leg.original.destination) for leg in onward))
        verdict = _verdict(onward)
        served = [self._by_ends.get((leg.reply.source, leg.reply.destination)) for leg in onward] if inbound else []
        owner = next(filter(None, map(self._owner, served)), "") if inbound else self._owner(self._socket(flow))
        return self._row(flow, "inbound" if inbound else "outbound", verdict, owner, upstream)

    def _from_envoy_out(self, flow: Flow) -> list[Flow]:
        """Onward to the same destination, or to an endpoint of a service on that port: what fits best, all of it."""
        wanted = flow.original.destination
        places = {wanted, *self._workload.upstreams.get(wanted.port, frozenset())}
        legs = [leg for leg in self._second if leg.original.destination in places and _together(flow, leg)]
        ranked = [(self._misfit(flow, leg), leg) for leg in legs if not self._to_application(leg)]
        best = min((rank for rank, _ in ranked), default=None)
        return [leg for rank, leg in ranked if rank == best]

    def _misfit(self, flow: Flow, leg: Flow) -> tuple[bool, int, bool, bool]:
        """Sort key: what was answered, ended with the first leg, is no other connection's, keeps the destination."""
        ended = leg.state == _ENDED
        apart = abs(flow.seconds - leg.seconds) if ended else 1
        elsewhere = leg.original.destination != flow.original.destination
        return leg.state in _ASKING, apart, ended and leg in self._used, elsewhere

    def _from_envoy_in(self, flow: Flow) -> list[Flow]:
        port = flow.original.destination.port
        legs = [leg for leg in self._second if self._to_application(leg) and leg.original.destination.port == port]
        return [leg for leg in legs if _together(flow, leg)]

    def _transparent(self, flow: Flow) -> Connection:
        """TPROXY gives Envoy what arrives without rewriting it."""
        asked = flow.original
        legs = [leg for leg in self._seen.flows if leg.original.destination == asked.destination]
        legs = [
            leg for leg in legs if self._to_application(leg) and leg.original.source.address == asked.source.address
        ]
        served = (self._by_ends.get((leg.reply.source, leg.reply.destination)) for leg in legs)
        owner = next(filter(None, map(self._owner, served)), "")
        upstream = tuple(dict.fromkeys(str(leg.original.destination) for leg in legs))
        return self._row(flow, "inbound", _verdict(legs), owner, upstream)

    def _other(self, flow: Flow) -> Connection:
        arrives = self._arrives(flow)
        if arrives and self._of_envoy(flow) and flow.original.destination.port not in SIDECAR_PORTS:
            return self._transparent(flow)
        return self._row(
            flow,
            "inbound" if arrives else "outbound",
            self._around(flow.original.destination.port, arrives, self._of_envoy(flow), flow.state),
            self._owner(self._socket(flow)),
        )

    def _datagrams(self, flow: Flow) -> Connection:
        """UDP goes around the sidecar, but for names that its DNS proxy answers."""
        to = flow.rewritten_to
        by_proxy = to is not None and self._own(to.address) and not self._arrives(flow)
        verdict = Verdict.SIDECAR if by_proxy else Verdict.UNCAPTURED
        direction = "inbound" if self._arrives(flow) else "outbound"
        return self._row(flow, direction, verdict if self._workload.sidecar else Verdict.DIRECT, "")

    def _around(self, port: int, arrives: bool, of_envoy: bool | None, state: str) -> Verdict:
        if not self._workload.sidecar:
            return Verdict.DIRECT
        if arrives:
            return Verdict.SIDECAR if port in SIDECAR_PORTS else Verdict.BYPASSED
        if not of_envoy:
            return Verdict.BYPASSED
        return Verdict.UNANSWERED if state in _ASKING else Verdict.POOLED

    def _row(
        self, flow: Flow, direction: str, verdict: Verdict, owner: str, upstream: tuple[str, ...] = ()
    ) -> Connection:
        user, group = self._asking(flow)
        return Connection(
            direction=direction,
            protocol=flow.protocol,
            state=flow.state,
            source=str(flow.original.source),
            destination=str(flow.original.destination),
            owner=owner,
            legs=1 + bool(upstream),
            upstream=upstream,
            verdict=verdict,
            user=user,
            group=group,
        )

    def _asking(self, flow: Flow) -> tuple[int | None, int | None]:
        """Whose connection it is, as packet rules ask."""
        return self._user(None if self._arrives(flow) else self._socket(flow))

    def _user(self, socket: Socket | None) -> tuple[int | None, int | None]:
        if socket is None or not socket.inode:
            return None, None
        owner = self._seen.owners.get(socket.inode)
        return socket.uid, owner.group if owner is not None and owner.group >= 0 else socket.uid

    # Sockets of namespaces whose kernel tracks nothing

    def _is_untracked(self, socket: Socket) -> bool:
        if socket.state == sockets.LISTEN or (self._own(socket.local.address) and self._own(socket.remote.address)):
            return False
        return (socket.local, socket.remote) not in self._tracked

    def _untracked(self, socket: Socket) -> Connection:
        arrives = socket.local.port in self._listening
        ends = (socket.remote, socket.local) if arrives else (socket.local, socket.remote)
        of_envoy = self._has(socket) if socket.inode else None
        user, group = self._user(None if arrives else socket)
        return Connection(
            direction="inbound" if arrives else "outbound",
            protocol="tcp",
            state=socket.state,
            source=str(ends[0]),
            destination=str(ends[1]),
            owner=self._owner(socket),
            legs=1,
            upstream=(),
            verdict=self._around(socket.local.port, arrives, of_envoy, socket.state),
            user=user,
            group=group,
        )


def _verdict(onward: list[Flow]) -> Verdict:
    if not onward:
        return Verdict.BLOCKED
    return Verdict.UNANSWERED if all(leg.state in _ASKING for leg in onward) else Verdict.THROUGH


def _together(first: Flow, second: Flow) -> bool:
    """Whether two legs may be of one connection by the times at which they ended.

    Envoy ends both legs of a TCP connection together; it may keep the second leg of HTTP, never the first.
    """
    if second.state != _ENDED:
        return True
    return first.state == _ENDED and abs(first.seconds - second.seconds) <= TOGETHER_SECONDS


def _ends(flow: Flow) -> tuple[tuple[Place, Place], ...]:
    """The sockets that an entry may be of: the caller's, and the answering one's."""
    return (
        (flow.original.source, flow.original.destination),
        (flow.reply.source, flow.reply.destination),
    )
