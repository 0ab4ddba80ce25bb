import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.kit.durations import Duration


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("0", 0),
        ("0s", 0),
        ("1s", 10**9),
        ("1.5s", 15 * 10**8),
        (".5s", 5 * 10**8),
        ("1.s", 10**9),
        ("-2s", -2 * 10**9),
        ("+2s", 2 * 10**9),
        ("1h30m", 5400 * 10**9),
        ("1h1m1s1ms1us1ns", 3661001001001),
        ("2µs", 2000),
        ("500ms", 5 * 10**8),
        ("0.000000001s", 1),
        ("0.0000000019s", 1),
    ],
)
def test_forms_that_are_read(text: str, nanoseconds: int) -> None:
    assert Duration.parse(text) == nanoseconds


@pytest.mark.parametrize(
    "text", ["", "-", "1", "s", "1 s", " 1s", "1s ", "1d", "1e3s", "1,5s", "--1s", "1s-1s", "1sx", "9" * 13 + "s", "١s"]
)
def test_forms_that_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="a duration such as"):
        Duration.parse(text)


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [
        (0, "0s"),
        (10**9, "1s"),
        (15 * 10**8, "1.500s"),
        (1, "0.000000001s"),
        (1000, "0.000001s"),
        (-25 * 10**6, "-0.025s"),
    ],
)
def test_protobuf_form_is_written(nanoseconds: int, text: str) -> None:
    assert str(Duration(nanoseconds)) == text
    assert repr(Duration(nanoseconds)) == f"Duration('{text}')"


@given(st.integers(-(10**20), 10**20))
def test_what_is_written_is_read_back(nanoseconds: int) -> None:
    assert Duration.parse(str(Duration(nanoseconds))) == nanoseconds


def test_seconds() -> None:
    assert Duration.of(seconds=0.25) == 250_000_000
    assert Duration.parse("1m30s").seconds == 90.0
