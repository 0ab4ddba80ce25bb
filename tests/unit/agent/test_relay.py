from pathlib import Path

import pytest

from tidegate.agent.relay import LAST_DELAY, TokenError, delay_after, read_token


def test_delays_double_and_spread() -> None:
    assert [delay_after(failures, 1.0) for failures in (1, 2, 3)] == pytest.approx([0.1, 0.2, 0.4])
    assert delay_after(1, 0.0) == pytest.approx(0.05)
    assert delay_after(100, 1.0) == LAST_DELAY


def test_token_is_read_each_time(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text(" one\n")
    assert read_token(path) == "one"
    path.write_text("two")
    assert read_token(path) == "two"


@pytest.mark.parametrize("text", [b"", b"two words", b"\xff\xfe"])
def test_what_is_no_token_is_told(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "token"
    path.write_bytes(text)
    with pytest.raises(TokenError, match=str(path)):
        read_token(path)


def test_no_token_file(tmp_path: Path) -> None:
    with pytest.raises(TokenError, match="cannot be read"):
        read_token(tmp_path / "absent")
