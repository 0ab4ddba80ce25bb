"""Envoy's log levels: what ``--level`` says, what the admin port's ``/logging`` is asked and what it answers."""

import difflib
import re
from collections.abc import Iterable

import msgspec

from tidegate.kit.errors import TidegateError

LEVELS = ("trace", "debug", "info", "warning", "error", "critical", "off")

_LEVEL = "|".join(LEVELS)
_ONE = rf"[a-z_0-9]+:(?:{_LEVEL})"
_QUERY = re.compile(rf"(?:level=(?:{_LEVEL})|paths={_ONE}(?:,{_ONE})*)?")
_NAME = re.compile(r"[a-z_0-9]+")


class LevelError(TidegateError):
    """A level or a logger that does not exist."""


class Levels(msgspec.Struct, frozen=True):
    """A change of log levels."""

    overall: str = ""
    """The level of every logger; empty to leave them."""
    loggers: dict[str, str] = {}
    """Levels of single loggers, which go before the overall one."""

    def queries(self) -> list[str]:
        """The queries that ``POST /logging`` needs for it, in order: Envoy takes one parameter at a time."""
        found = [f"level={self.overall}"] if self.overall else []
        if self.loggers:
            found.append("paths=" + ",".join(f"{name}:{level}" for name, level in self.loggers.items()))
        return found

    def check(self, known: Iterable[str]) -> None:
        """Raises LevelError for a logger that this Envoy does not have."""
        names = sorted(known)
        for name in self.loggers:
            if name not in names:
                near = difflib.get_close_matches(name, names)
                hint = f"; near it: {', '.join(near)}" if near else ""
                raise LevelError(f"this Envoy has no logger {name!r}{hint}")


def is_query(query: str) -> bool:
    """Whether a query of ``/logging`` reads levels or sets them, and does nothing else."""
    return _QUERY.fullmatch(query) is not None


def parse_levels(text: str) -> Levels:
    """Read ``[logger:]level,...``. Raises LevelError."""
    overall, loggers = "", {}
    for part in text.split(","):
        name, colon, level = part.strip().rpartition(":")
        if level not in LEVELS:
            raise LevelError(f"--level {part!r}: expected [LOGGER:]LEVEL with one of the levels {', '.join(LEVELS)}")
        if colon and not _NAME.fullmatch(name):
            raise LevelError(f"--level {part!r}: a logger's name has only a-z, 0-9 and _")
        if colon:
            loggers[name] = level
        elif overall:
            raise LevelError(f"--level {text!r}: two levels for all loggers, {overall} and {level}; give one")
        else:
            overall = level
    return Levels(overall, loggers)


def started_with(server_info: bytes) -> Levels:
    """The levels on Envoy's command line, from the admin port's ``/server_info``. Raises LevelError."""
    try:
        info = msgspec.json.decode(server_info, type=_ServerInfo)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise LevelError(f"not an answer of Envoy's /server_info: {error}") from None
    options = info.command_line_options
    return parse_levels(",".join(filter(None, (options.log_level, options.component_log_level))))


class _Options(msgspec.Struct):
    log_level: str = "info"
    component_log_level: str = ""


class _ServerInfo(msgspec.Struct):
    command_line_options: _Options


def read_levels(answer: str) -> dict[str, str]:
    """Logger to level, from the answer of ``/logging``: an indented line for each."""
    return dict(re.findall(r"^ +([^\s:]+): (\w+)$", answer, re.MULTILINE))
