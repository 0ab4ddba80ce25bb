"""One rule of nftables, from nft's words into the vocabulary of rules that iptables has.

nft(8), "PRIMARY EXPRESSIONS", "PAYLOAD EXPRESSIONS" and "STATEMENTS". What has no counterpart becomes a condition
``nft`` with its words, which the walker tells as not known.
"""

import re
from collections.abc import Iterator, Mapping

from tidegate.rules.model import Match, Rule

Sets = Mapping[str, tuple[str, ...]]
"""Named sets of a table, with their elements."""

_TOKEN = re.compile(r'"[^"]*"|[{}(),|&]|!=|==|<=|>=|<|>|[^\s{}(),|&"]+')
_FAMILY = {"ip": "ipv4", "ip6": "ipv6"}
_META = {
    "l4proto": "-p",
    "nfproto": "--nfproto",
    "mark": "--mark",
    "iifname": "-i",
    "iif": "-i",
    "oifname": "-o",
    "oif": "-o",
    "skuid": "--skuid",
    "skgid": "--skgid",
}
_BARE_META = frozenset(_META) - {"l4proto", "nfproto"}
_CT = {"state": "--ctstate", "mark": "--mark"}
_PAYLOAD = {
    ("ip", "saddr"): "-s",
    ("ip", "daddr"): "-d",
    ("ip", "protocol"): "-p",
    ("ip6", "saddr"): "-s",
    ("ip6", "daddr"): "-d",
    ("ip6", "nexthdr"): "-p",
    **{(protocol, "sport"): "--sport" for protocol in ("tcp", "udp", "sctp", "dccp", "th")},
    **{(protocol, "dport"): "--dport" for protocol in ("tcp", "udp", "sctp", "dccp", "th")},
}
_VERDICTS = {"accept": "ACCEPT", "drop": "DROP", "return": "RETURN", "queue": "QUEUE"}
WORDS = frozenset(
    {
        *("meta", "ct", "ip", "ip6", "tcp", "udp", "sctp", "dccp", "th", "fib", "icmp", "icmpv6", "ether", "limit"),
        *("counter", "log", "comment", "jump", "goto", "redirect", "dnat", "snat", "masquerade", "tproxy", "notrack"),
        *("reject", "continue", "xt", "socket", "numgen", "jhash", "dup", "fwd"),
        *_BARE_META,
        *_VERDICTS,
    }
)
"""Words at which a new expression or statement begins."""
_MASKED = ("&", "and")
_OPERATORS = ("!=", "==", "<", ">", "<=", ">=")


def parse_statements(chain: str, text: str, sets: Sets | None = None, position: int | None = None) -> Rule:
    """A rule of nftables; ``text`` is what nft prints of it, without a handle. Unknown words are kept as unknown."""
    return _Reader(text, sets or {}).rule(chain, position)


class _Reader:
    """Reads one rule from left to right."""

    def __init__(self, text: str, sets: Sets) -> None:
        self.text, self.sets = text, sets
        self.tokens = _TOKEN.findall(text)
        self.place = 0
        self.matches: list[Match] = []
        self.actions: list[tuple[str, ...]] = []
        self.goto = False
        self.counters: tuple[int, int] | None = None

    def rule(self, chain: str, position: int | None) -> Rule:
        while self.place < len(self.tokens):
            start = self.place
            if not self._statement(self._next()):
                self.place = start
                self._unknown(start)
        *before, last = _joined(self.actions) or [("",)]
        return Rule(
            chain,
            tuple(self.matches),
            last[0],
            last[1:],
            position,
            self.goto,
            self.counters,
            tuple(before),
            self.text,
        )

    # Tokens

    def _peek(self, ahead: int = 0) -> str:
        place = self.place + ahead
        return self.tokens[place] if place < len(self.tokens) else ""

    def _next(self) -> str:
        token = self._peek()
        self.place += 1
        return token

    def _skip(self, *words: str) -> bool:
        if self._peek() not in words:
            return False
        self.place += 1
        return True

    def _number(self) -> int:
        return int(self._next()) if self._peek().isdigit() else 0

    def _unknown(self, start: int) -> None:
        """Everything up to the next expression or statement, as one condition that is not known."""
        self.place, depth = start, 0
        while self.place < len(self.tokens):
            token = self._next()
            depth += (token in "{(") - (token in "})")
            follows = self._peek()
            if depth <= 0 and follows in WORDS and not self._inside(token):
                break
        self.matches.append(Match("nft", (" ".join(self.tokens[start : self.place]),)))

    def _inside(self, token: str) -> bool:
        """Whether the word after this one belongs to the same expression (``meta mark``, ``fib daddr . iif``)."""
        return token in ("meta", "ct", ".", *_MASKED, "|", ",", "xt", *_OPERATORS)

    # Statements

    def _statement(self, word: str) -> bool:
        """Read what begins with the word; False when it is not known."""
        own = getattr(self, f"_on_{word}", None)
        if own is not None:
            return bool(own())
        if word in _VERDICTS:
            self.actions.append((_VERDICTS[word],))
            return True
        if word in _BARE_META:
            return self._meta(word)
        if (word, self._peek()) in _PAYLOAD:
            return self._payload(word, self._next())
        return False

    def _on_counter(self) -> bool:
        if self._skip("packets"):
            packets = self._number()
            self._skip("bytes")
            self.counters = packets, self._number()
        elif self._skip("name"):
            self._next()
        return True

    def _on_continue(self) -> bool:
        return True

    def _on_comment(self) -> bool:
        self.matches.append(Match("--comment", (self._next().strip('"'),)))
        return True

    def _on_log(self) -> bool:
        while self._peek() in ("prefix", "level", "group", "snaplen", "queue-threshold", "flags"):
            self.place += 2
        self.actions.append(("LOG",))
        return True

    def _on_jump(self) -> bool:
        self.actions.append((self._next(),))
        return True

    def _on_goto(self) -> bool:
        self.goto = True
        return self._on_jump()

    def _on_reject(self) -> bool:
        if self._skip("with"):
            while self._peek() and self._peek() not in WORDS - {"tcp", "icmp", "icmpv6"}:
                self.place += 1
        self.actions.append(("REJECT",))
        return True

    def _on_notrack(self) -> bool:
        self.actions.append(("NOTRACK",))
        return True

    def _on_masquerade(self) -> bool:
        self.actions.append(("MASQUERADE",))
        return True

    def _on_redirect(self) -> bool:
        _, port = self._target()
        self.actions.append(("REDIRECT", *(("--to-ports", port) if port else ())))
        return True

    def _on_tproxy(self) -> bool:
        address, port = self._target()
        on_ip = ("--on-ip", address) if address else ()
        self.actions.append(("TPROXY", *on_ip, *(("--on-port", port) if port else ())))
        return True

    def _on_dnat(self) -> bool:
        return self._translation("DNAT", "--to-destination")

    def _on_snat(self) -> bool:
        return self._translation("SNAT", "--to-source")

    def _translation(self, target: str, option: str) -> bool:
        address, port = self._target()
        if self._peek() in ("{", "map", ".") or not (address or port):
            return False
        shown = f"[{address}]" if ":" in address and port else address
        self.actions.append((target, option, f"{shown}:{port}" if port else shown))
        return True

    def _target(self) -> tuple[str, str]:
        """``ip to 10.0.0.5:6443``, ``to :15001``, or nothing."""
        if self._peek() in _FAMILY:
            self._only(_FAMILY[self._next()])
        if not self._skip("to"):
            self._flags()
            return "", ""
        written = self._next()
        self._flags()
        if written.startswith("["):
            address, _, port = written[1:].partition("]")
            return address, port.lstrip(":")
        address, _, port = written.rpartition(":") if written.count(":") <= 1 else (written, "", "")
        return (address, port) if ":" in written else (written, "")

    def _flags(self) -> None:
        """How ports and addresses are chosen among several, which changes nothing about where a packet goes."""
        while self._skip(",", "random", "fully-random", "persistent"):
            pass

    # Expressions

    def _on_meta(self) -> bool:
        return self._meta(self._next())

    def _meta(self, key: str) -> bool:
        if self._skip("set"):
            return key == "mark" and self._set_mark("MARK", "--set-mark", "--restore-mark", "ct")
        if key not in _META:
            return False
        return self._compare(_META[key], "mark" if key == "mark" else "")

    def _on_ct(self) -> bool:
        key = self._next()
        if self._skip("set"):
            if key == "zone" and self._peek().isdigit():
                self.actions.append(("CT", "--zone", self._next()))
                return True
            return key == "mark" and self._set_mark("CONNMARK", "--set-mark", "--save-mark", "meta")
        return key in _CT and self._compare(_CT[key], "connmark" if key == "mark" else "conntrack")

    def _set_mark(self, target: str, option: str, copying: str, source: str) -> bool:
        if self._peek() == source and self._peek(1) == "mark":
            self.place += 2
            self.actions.append((target, copying))
            return True
        if source == "meta" and self._skip("mark"):
            self.actions.append((target, copying))
            return True
        own = ("meta", "ct")[target == "CONNMARK"]
        if self._peek() == own:
            self.place += 1
        if self._skip("mark"):  # of its own, with a bit more: kube-proxy's
            if not self._skip("|", "or") or not _is_number(self._peek()):
                return False
            bits = self._next()
            self.actions.append((target, "--set-xmark", f"{bits}/{bits}"))
            return True
        if not _is_number(self._peek()) or self._peek(1) in (*_MASKED, "|", "or", "xor", "^"):
            return False
        self.actions.append((target, option, self._next()))
        return True

    def _on_fib(self) -> bool:
        if (self._peek(), self._peek(1)) != ("daddr", "type"):
            return False
        self.place += 2
        return self._compare("--dst-type", "addrtype")

    def _payload(self, protocol: str, field: str) -> bool:
        option = _PAYLOAD[protocol, field]
        if protocol in _FAMILY:
            self._only(_FAMILY[protocol])
        elif protocol != "th":
            self._also("-p", protocol)
        return self._compare(option)

    def _only(self, family: str) -> None:
        self._also("--nfproto", family)

    def _also(self, option: str, value: str) -> None:
        """A condition that an expression implies; nft leaves it away, or says it besides."""
        match = Match(option, (value,))
        if match not in self.matches:
            self.matches.append(match)

    def _compare(self, option: str, extension: str = "") -> bool:
        mask = self._next() if self._skip(*_MASKED) else ""
        operator = self._next() if self._peek() in _OPERATORS else "=="
        values = self._values()
        if operator not in ("==", "!=") or not values or self._peek() in ("|", "&", ".", "map"):
            return False
        if extension:
            self.matches.append(Match("-m", (extension,)))
        written = ",".join(_value(option, each) for each in values)
        if mask:
            written = f"{written}/{mask}"
        plural = option in ("--sport", "--dport") and len(values) > 1
        self.matches.append(Match(option + "s" * plural, (written,), operator == "!="))
        return True

    def _values(self) -> list[str]:
        """One value, a list without braces, a set, or the elements of a named set; empty when they are not known."""
        if self._peek() == "vmap":
            return []
        if self._skip("{"):
            found = list(self._until_closed())
            return found if all(found) else []
        found = [self._next()]
        while self._skip(","):
            found.append(self._next())
        if found[0].startswith("@"):
            return list(self.sets.get(found[0][1:], ()))
        return found

    def _until_closed(self) -> Iterator[str]:
        while self._peek() and not self._skip("}"):
            yield self._next()
            if self._peek() not in (",", "}"):
                yield ""
            self._skip(",")


def _value(option: str, written: str) -> str:
    written = written.strip('"')
    if option in ("-i", "-o") and written.endswith("*"):
        return written[:-1] + "+"
    if option in ("--sport", "--dport"):
        return written.replace("-", ":")
    return written.upper() if option in ("--ctstate", "--dst-type") else written


def _is_number(word: str) -> bool:
    return bool(re.fullmatch(r"0x[0-9a-fA-F]+|\d+", word))


def _joined(actions: list[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Actions in order; tproxy with the mark and the accept that follow it is one, as iptables has it."""
    found: list[tuple[str, ...]] = []
    for action in actions:
        if found and found[-1][0] == "TPROXY" and action[0] == "MARK" and len(action) == 3:
            found[-1] = (*found[-1], "--tproxy-mark", f"{action[2]}/0xffffffff")
        elif not (found and found[-1][0] == "TPROXY" and action[0] == "ACCEPT"):
            found.append(action)
    return found
