"""Lines of an Envoy's access log in Istio's default formats, text and JSON, as typed values.

https://istio.io/latest/docs/tasks/observability/logs/access-log/
"""

import re
from typing import Any

import msgspec

MAX_LINE = 64 * 1024
"""Bytes of a line that is read; a longer one is no access log's."""

_QUOTED = r'"(?P<{}>[^"]*)"'
_WORDS = (
    r"\[(?P<start_time>[^\]]+)\]",
    _QUOTED.format("request"),
    r"(?P<response_code>\d+)",
    r"(?P<response_flags>\S+)",
    r"(?P<response_code_details>\S+)",
    r"(?P<connection_termination_details>\S+)",
    _QUOTED.format("upstream_transport_failure_reason"),
    r"(?P<bytes_received>\d+|-)",
    r"(?P<bytes_sent>\d+|-)",
    r"(?P<duration>\d+|-)",
    r"(?P<upstream_service_time>\S+)",
    _QUOTED.format("x_forwarded_for"),
    _QUOTED.format("user_agent"),
    _QUOTED.format("request_id"),
    _QUOTED.format("authority"),
    _QUOTED.format("upstream_host"),
    r"(?P<upstream_cluster>\S+)",
    r"(?P<upstream_local_address>\S+)",
    r"(?P<downstream_local_address>\S+)",
    r"(?P<downstream_remote_address>\S+)",
    r"(?P<requested_server_name>\S+)",
    r"(?P<route_name>\S.*)",
)
_TEXT = re.compile(" ".join(_WORDS))


class Line(msgspec.Struct, frozen=True, omit_defaults=True):
    """One request, or one connection of plain TCP. Members are named as in the JSON format; "" for none ("-")."""

    start_time: str = ""
    method: str = ""
    """"" for plain TCP."""
    path: str = ""
    protocol: str = ""
    response_code: int = 0
    """0 where there was no answer, and for plain TCP."""
    response_flags: str = ""
    """Envoy's short flags, joined by commas."""
    response_code_details: str = ""
    connection_termination_details: str = ""
    upstream_transport_failure_reason: str = ""
    bytes_received: int = 0
    bytes_sent: int = 0
    duration: int = 0
    """Milliseconds."""
    upstream_service_time: str = ""
    x_forwarded_for: str = ""
    user_agent: str = ""
    request_id: str = ""
    authority: str = ""
    upstream_host: str = ""
    upstream_cluster: str = ""
    upstream_local_address: str = ""
    downstream_local_address: str = ""
    downstream_remote_address: str = ""
    requested_server_name: str = ""
    route_name: str = ""

    @property
    def flags(self) -> tuple[str, ...]:
        return tuple(flag for flag in self.response_flags.split(",") if flag)

    @property
    def inbound(self) -> bool:
        """Whether it is of the sidecar that received, not of the one that asked."""
        return self.upstream_cluster.startswith("inbound|") or self.upstream_cluster == "InboundPassthroughCluster"

    @property
    def failed(self) -> bool:
        """Whether something went wrong: a flag, or an answer that tells of an error."""
        return bool(self.response_flags) or self.response_code >= 400


_NUMBERS = frozenset({"response_code", "bytes_received", "bytes_sent", "duration"})


def parse(text: str) -> Line | None:
    """One line; None for anything else: Envoy's own messages, other formats, lines cut short."""
    text = text.strip()
    if not text or len(text) > MAX_LINE:
        return None
    return _json(text) if text.startswith("{") else _text(text)


def _text(text: str) -> Line | None:
    found = _TEXT.fullmatch(text)
    if found is None:
        return None
    words = found.groupdict()
    request = words.pop("request").split(" ")
    method, path, protocol = request[0], " ".join(request[1:-1]), request[-1]
    return _line({**words, "method": method, "path": path, "protocol": protocol})


def _json(text: str) -> Line | None:
    try:
        found = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return None
    return _line(found) if isinstance(found, dict) and "response_code" in found else None


def _line(words: dict[str, Any]) -> Line:
    """What has a name that is known; the rest belongs to a format of the mesh's own."""
    known: dict[str, Any] = {}
    for name in Line.__struct_fields__:
        word = words.get(name)
        text = "" if word is None or word == "-" else str(word)
        known[name] = (int(text) if text.isascii() and text.isdigit() else 0) if name in _NUMBERS else text
    return Line(**known)
