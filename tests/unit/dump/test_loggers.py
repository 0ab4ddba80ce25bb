"""Log levels: what a person writes, what Envoy is asked, what it answers."""

import json

import pytest

from tidegate.dump.loggers import LevelError, Levels, is_query, parse_levels, read_levels, started_with


@pytest.mark.parametrize(
    ("text", "queries"),
    [
        ("debug", ["level=debug"]),
        ("http:trace", ["paths=http:trace"]),
        ("http:trace, warning ,router:off", ["level=warning", "paths=http:trace,router:off"]),
        ("http:trace,http:info", ["paths=http:info"]),
    ],
)
def test_levels_become_queries_that_the_relay_lets_through(text: str, queries: list[str]) -> None:
    assert parse_levels(text).queries() == queries
    assert all(is_query(query) for query in queries)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("loud", "one of the levels trace, debug"),
        ("http:", "one of the levels"),
        ("", "one of the levels"),
        ("debug,", "one of the levels"),
        (":debug", "only a-z, 0-9 and _"),
        ("ht tp:debug", "only a-z, 0-9 and _"),
        ("a:b:debug", "only a-z, 0-9 and _"),
        ("debug,info", "two levels for all loggers, debug and info"),
        ("DEBUG", "one of the levels"),
    ],
)
def test_levels_that_do_not_exist_are_refused(text: str, told: str) -> None:
    with pytest.raises(LevelError, match=told):
        parse_levels(text)


@pytest.mark.parametrize(
    "query",
    [
        "level=loud",
        "level=debug&level=off",
        "level=debug&paths=http:debug",
        "paths=",
        "paths=http",
        "paths=http:debug,",
        "paths=ht%20tp:debug",
        "paths=http:debug\n",
        "http=debug",
        "enable=true",
        "&",
    ],
)
def test_any_other_query_is_none_of_the_relay(query: str) -> None:
    assert not is_query(query)


def test_reading_needs_no_query() -> None:
    assert is_query("")
    assert Levels().queries() == []


def test_a_logger_that_is_not_there_is_told_with_those_near_it() -> None:
    with pytest.raises(LevelError, match=r"no logger 'htp'; near it: http"):
        parse_levels("http:info,htp:info").check({"http": "info", "router": "info"})
    parse_levels("router:info").check(["http", "router"])


def test_the_levels_of_the_start_come_from_the_command_line() -> None:
    options = {"log_level": "warning", "component_log_level": "http:debug,misc:error", "base_id": "0"}
    levels = started_with(json.dumps({"version": "x", "command_line_options": options}).encode())
    assert levels.queries() == ["level=warning", "paths=http:debug,misc:error"]
    with pytest.raises(LevelError, match="server_info"):
        started_with(b"[]")


def test_an_answer_is_read_line_by_line() -> None:
    assert read_levels("active loggers:\n  admin: warning\n  http2: off\n") == {"admin": "warning", "http2": "off"}
    assert read_levels("") == {}
