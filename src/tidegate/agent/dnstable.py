"""What the agent answers of names: the name table, as an application asks for it.

Resolvers ask for short forms and for names with a search domain behind them; both lead to the table's names. Answers
are made once and kept as bytes until the table changes. Pure.
"""

import itertools
from collections.abc import Iterator, Mapping

import msgspec

from tidegate.agent import dnswire
from tidegate.agent.dnswire import AAAA, A, Question
from tidegate.kit.nametable import NameInfo

MOST_KEPT = 100_000
"""Answers; when there are more, all are made anew."""
_MOST_ORDERS = 8
KUBERNETES = "Kubernetes"


class Answer(msgspec.Struct, frozen=True, gc=False):
    """Records to one question, in several orders, so that clients that take the first spread."""

    count: int
    orders: tuple[bytes, ...]


class Names:
    """The table of one workload. ``search``: the search list of its resolv.conf.

    Looking up changes only what is kept of answers.
    """

    def __init__(self, table: Mapping[str, NameInfo], domain: str, search: tuple[str, ...] = ()) -> None:
        self._table = {name.lower().rstrip("."): info for name, info in table.items()}
        self._suffixes = tuple(_suffixes(domain.lower()))
        self._search = search[0].lower().strip(".") if search else ""
        self._has_wildcards = any(name.startswith("*.") for name in self._table)
        self._kept: dict[bytes, Answer | None] = {}
        self._turn = itertools.count()

    def __len__(self) -> int:
        return len(self._table)

    def respond(self, query: bytes, asked: Question, limit: int) -> bytes | None:
        """The answer to a query; None when it is not for us to answer.

        A name that is known and has no address of the asked family is answered with nothing, never denied: some
        resolvers take the denial of one type for that of the name (RFC 2308, section 2.2).
        """
        answer = self._kept.get(asked.key, False)
        if answer is False:
            answer = self._keep(asked)
        if not isinstance(answer, Answer):
            return None
        orders = answer.orders
        records = orders[next(self._turn) % len(orders)] if len(orders) > 1 else orders[0]
        return dnswire.reply(query, asked, answer.count, records, limit)

    def _keep(self, asked: Question) -> Answer | None:
        if len(self._kept) >= MOST_KEPT:
            self._kept.clear()
        made = self._made(asked) if asked.kind in (A, AAAA) else None
        self._kept[asked.key] = made
        return made

    def _made(self, asked: Question) -> Answer | None:
        name = dnswire.name_of(asked.key)
        if (info := self.lookup(name)) is not None:
            return _answer(info, asked.kind)
        if self._search and name.endswith(f".{self._search}"):
            bare = name[: -len(self._search) - 1]
            if (info := self.lookup(bare)) is not None:
                return _answer(info, asked.kind, dnswire.encode_name(bare))
        return None

    def lookup(self, name: str) -> NameInfo | None:
        """What is known of a name (lower case, without last dot): by itself, as a short form of a Kubernetes name, or
        by the narrowest wildcard."""
        found = self._table.get(name)
        if found is not None:
            return found
        for suffix in self._suffixes:
            found = self._table.get(name + suffix)
            if found is not None and found.registry == KUBERNETES:
                return found
        return self._by_wildcard(name) if self._has_wildcards else None

    def _by_wildcard(self, name: str) -> NameInfo | None:
        rest = name
        while "." in rest:
            rest = rest.partition(".")[2]
            if (found := self._table.get(f"*.{rest}")) is not None:
                return found
        return None


def _suffixes(domain: str) -> Iterator[str]:
    """What may be left out of a Kubernetes name in ``<namespace>.svc.<cluster domain>``: all of it, all but the
    namespace, all but namespace and ``svc``."""
    rest = domain.strip(".")
    for _ in range(3):
        if not rest:
            return
        yield f".{rest}"
        rest = rest.partition(".")[2]


def _answer(info: NameInfo, kind: int, target: bytes | None = None) -> Answer:
    """``target``: the name that the asked one is an alias of, None when the addresses are its own."""
    addresses = tuple(ip for ip in info.ips if (":" in ip) == (kind == AAAA))
    if not addresses:
        return Answer(0, (b"",))
    alias = dnswire.alias_record(target) if target is not None else b""
    turns = min(len(addresses), _MOST_ORDERS)
    orders = (addresses[turn:] + addresses[:turn] for turn in range(turns))
    made = tuple(
        alias + (dnswire.address_records(each, target) if target is not None else dnswire.address_records(each))
        for each in orders
    )
    return Answer(len(addresses) + bool(alias), made)
