"""How a process of ours logs: text or JSON, at the level that Istio's flag ``--log_output_level`` asks for."""

import datetime
import json
import logging

from tidegate.kit.errors import TidegateError

FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
_LEVELS = {
    "none": logging.CRITICAL + 1,
    "fatal": logging.CRITICAL,
    "error": logging.ERROR,
    "warn": logging.WARNING,
    "warning": logging.WARNING,
    "info": logging.INFO,
    "debug": logging.DEBUG,
}
_WHOLE = ("default", "all")


class JsonFormatter(logging.Formatter):
    """One object a line, with the fields that Istio's processes write."""

    def format(self, record: logging.LogRecord) -> str:
        when = datetime.datetime.fromtimestamp(record.created, datetime.UTC)
        told = {
            "level": record.levelname.lower(),
            "time": when.isoformat(timespec="microseconds").replace("+00:00", "Z"),
            "scope": record.name,
            "msg": record.getMessage(),
        }
        if record.exc_info:
            told["stack"] = self.formatException(record.exc_info)
        return json.dumps(told, ensure_ascii=False)


def configure(levels: str = "", *, as_json: bool = False) -> None:
    """Log to standard error. Raises TidegateError for a level that is none."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter() if as_json else logging.Formatter(FORMAT))
    logging.basicConfig(level=level_of(levels), handlers=[handler])


def level_of(text: str) -> int:
    """The level of ``info``, ``default:debug`` or ``ads:debug,default:info``: other scopes are Istio's."""
    level = logging.INFO
    for part in filter(None, (each.strip() for each in text.split(","))):
        scope, colon, word = part.rpartition(":")
        if word not in _LEVELS:
            expected = ", ".join(_LEVELS)
            raise TidegateError(f"--log_output_level {text!r}: {word!r} is no level; expected one of {expected}")
        if not colon or scope in _WHOLE:
            level = _LEVELS[word]
    return level
