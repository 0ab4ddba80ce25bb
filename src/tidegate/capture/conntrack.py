"""The kernel's connection table, as /proc/net/nf_conntrack and ``conntrack -L -o extended`` print it.

https://conntrack-tools.netfilter.org/manual.html
"""

import re
from collections.abc import Iterator

import msgspec

_PAIR = re.compile(r"\b(src|dst|sport|dport)=(\S+)")
_HEAD = re.compile(
    r"\s*(?P<family>ipv4|ipv6)\s+\d+\s+(?P<protocol>tcp|udp)\s+\d+\s+(?P<seconds>\d+)\s+(?P<state>[A-Z_0-9]+ )?"
)


class Place(msgspec.Struct, frozen=True, order=True):
    """An address and a port."""

    address: str
    port: int

    def __str__(self) -> str:
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"


class Tuple(msgspec.Struct, frozen=True):
    """One direction of a connection."""

    source: Place
    destination: Place


class Flow(msgspec.Struct, frozen=True):
    """One entry: what was asked for, and from where the answers come. They differ where an address was rewritten."""

    protocol: str
    state: str
    """"" for UDP, which has none."""
    original: Tuple
    reply: Tuple
    seconds: int = 0
    """After which the kernel forgets it, unless a packet comes."""

    @property
    def rewritten_to(self) -> Place | None:
        """Where the connection really went, if not to where it asked for."""
        return self.reply.source if self.reply.source != self.original.destination else None


def parse(text: str) -> Iterator[Flow]:
    """TCP and UDP entries; lines of other protocols, or that cannot be read, are passed over."""
    for line in text.splitlines():
        head = _HEAD.match(line)
        pairs = _PAIR.findall(line)
        if head is None or [name for name, _ in pairs] != ["src", "dst", "sport", "dport"] * 2:
            continue
        values = [value for _, value in pairs]
        try:
            original, reply = _tuple(values[:4]), _tuple(values[4:])
        except ValueError:
            continue
        state = (head["state"] or "").strip()
        yield Flow(head["protocol"], state, original, reply, int(head["seconds"]))


def _tuple(values: list[str]) -> Tuple:
    source, destination, source_port, destination_port = values
    return Tuple(Place(source, int(source_port)), Place(destination, int(destination_port)))
