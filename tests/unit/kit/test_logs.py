import json
import logging

import pytest

from tidegate.kit.errors import TidegateError
from tidegate.kit.logs import JsonFormatter, level_of


@pytest.mark.parametrize(
    ("text", "level"),
    [
        ("", logging.INFO),
        ("default:debug", logging.DEBUG),
        ("error", logging.ERROR),
        ("ads:debug,default:warn", logging.WARNING),
        ("ads:debug", logging.INFO),
        ("all:none", logging.CRITICAL + 1),
    ],
)
def test_istios_levels(text: str, level: int) -> None:
    assert level_of(text) == level


def test_a_level_that_is_none_is_named() -> None:
    with pytest.raises(TidegateError, match="'loud' is no level; expected one of none, fatal, error"):
        level_of("default:loud")


def test_a_line_of_json_whatever_is_said() -> None:
    record = logging.LogRecord("agent", logging.WARNING, __file__, 1, 'two\nlines and "quotes" of %s', ("ü",), None)
    told = json.loads(JsonFormatter().format(record))
    assert (told["level"], told["scope"], told["msg"]) == ("warning", "agent", 'two\nlines and "quotes" of ü')
    assert told["time"].endswith("Z")
