"""Statistics of several sources as one exposition, in Prometheus' text format or as OpenMetrics.

https://prometheus.io/docs/instrumenting/exposition_formats/ and the OpenMetrics 1.0 text format: the latter has no
other comments, names a counter's family without ``_total``, counts time in seconds and ends with ``# EOF``.
"""

import re
from collections.abc import AsyncGenerator, AsyncIterator, Iterator

import msgspec

TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPEN_METRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
END = b"# EOF\n"
_COUNTER = b"_total"
_COMMENT = re.compile(rb"# (TYPE|HELP|UNIT) (\S+)(?: (.*))?$")


class Part(msgspec.Struct, frozen=True):
    """What one source has told, whole."""

    body: bytes
    open_metrics: bool = False


def negotiated(accept: str) -> str:
    """What an application is asked for: OpenMetrics only if the asker takes it, and nothing that is no text."""
    if "application/openmetrics-text" in accept.lower():
        return "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"
    return "text/plain;version=0.0.4"


def is_open_metrics(content_type: str) -> bool | None:
    """Whether an answer is OpenMetrics; None when it is no text that could be joined."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind == "application/openmetrics-text":
        return True
    return False if kind in ("text/plain", "") else None


def rendered(part: Part, *, open_metrics: bool) -> Iterator[bytes]:
    """A part in the form of the whole, without its own end."""
    body = part.body if part.body.endswith(b"\n") or not part.body else part.body + b"\n"
    if part.open_metrics:
        yield b"".join(line for line in body.splitlines(keepends=True) if line.strip() != END.strip())
    elif open_metrics:
        translator = Translator()
        yield translator.lines(body) + translator.rest()
    else:
        yield body


async def whole_lines(chunks: AsyncGenerator[bytes, None]) -> AsyncIterator[bytes]:
    """The chunks, cut at the ends of lines; a last line that breaks off is dropped with the error that broke it."""
    rest = b""
    async for chunk in chunks:
        lines, end, tail = chunk.rpartition(b"\n")
        if end:
            yield rest + lines + end
            rest = tail
        else:
            rest += chunk
    if rest:
        yield rest + b"\n"


class Translator:
    """From the text format to OpenMetrics, some whole lines at a time."""

    def __init__(self) -> None:
        self._help: tuple[bytes, bytes] | None = None
        """A family's name and its help, which comes before its type, and has to have the name that follows from it."""

    def lines(self, text: bytes) -> bytes:
        return b"".join(each for line in text.split(b"\n") for each in self._line(line.strip()))

    def rest(self) -> bytes:
        """What is left at the end."""
        return b"".join(self._helped(None))

    def _line(self, line: bytes) -> Iterator[bytes]:
        if not line:
            return
        if not line.startswith(b"#"):
            yield from self._helped(None)
            yield _in_seconds(line) + b"\n"
            return
        found = _COMMENT.match(line)
        if found is None:
            return
        kind, name, words = found.groups()
        if kind == b"HELP":
            yield from self._helped(None)
            self._help = name, words or b""
        elif kind == b"TYPE":
            family, told = _family(name, words or b"")
            yield from self._helped(family if self._help and self._help[0] == name else None)
            yield b"# TYPE %s %s\n" % (family, told)

    def _helped(self, family: bytes | None) -> Iterator[bytes]:
        if self._help is not None:
            name, words = self._help
            yield b"# HELP %s %s\n" % (family or name, words)
            self._help = None


def _family(name: bytes, kind: bytes) -> tuple[bytes, bytes]:
    """A family's name and type: a counter's samples end in ``_total``, or it is none to OpenMetrics."""
    if kind == b"counter":
        return (name.removesuffix(_COUNTER), kind) if name.endswith(_COUNTER) else (name, b"unknown")
    return name, b"unknown" if kind == b"untyped" else kind


def _in_seconds(sample: bytes) -> bytes:
    """A sample whose time, if it has one, is in seconds and not in milliseconds."""
    labels, brace, rest = sample.rpartition(b"}")
    words = rest.split()
    if len(words) != (2 if brace else 3):
        return sample
    *before, stamp = words
    try:
        seconds = b"%.3f" % (int(stamp) / 1000)
    except ValueError:
        return sample
    return labels + brace + (b" " if brace else b"") + b" ".join((*before, seconds))
