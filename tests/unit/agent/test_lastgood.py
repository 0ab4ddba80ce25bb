import logging
import stat
from pathlib import Path

import pytest

from tidegate.agent.lastgood import Accepted, LastGood
from tidegate.xds.types import CLUSTER, ENDPOINT, LISTENER

A, B = Accepted("a", "1", b"A"), Accepted("b", "1", b"B")


def test_changes_add_up(tmp_path: Path) -> None:
    store = LastGood(tmp_path / "db")
    store.accept(CLUSTER, [A, B], (), whole=True)
    store.accept(CLUSTER, [Accepted("a", "2", b"AA")], ["b"], whole=False)
    store.accept(ENDPOINT, [B], (), whole=False)
    store.forget(ENDPOINT, ["b"])
    assert store.everything() == {CLUSTER: [Accepted("a", "2", b"AA")]}
    store.close()


def test_a_whole_set_replaces_what_was_there(tmp_path: Path) -> None:
    store = LastGood(tmp_path / "db")
    store.accept(CLUSTER, [A], (), whole=True)
    store.accept(CLUSTER, [B], (), whole=True)
    assert store.everything() == {CLUSTER: [B]}
    store.close()


def test_it_is_there_the_next_time_and_only_ours_to_read(tmp_path: Path) -> None:
    path = tmp_path / "db"
    store = LastGood(path)
    store.accept(CLUSTER, [A], (), whole=True)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    again = LastGood(path)  # nobody closed the first one: as after SIGKILL
    assert again.everything() == {CLUSTER: [A]}
    again.close()
    store.close()


def test_usable_once_clusters_and_listeners_were_accepted(tmp_path: Path) -> None:
    store = LastGood(tmp_path / "db")
    store.accept(CLUSTER, [], (), whole=True)
    assert not store.usable()
    store.accept(LISTENER, [], (), whole=True)
    assert store.usable()
    store.close()


@pytest.mark.parametrize("damage", [b"nonsense" * 1000, None])
def test_a_damaged_file_is_set_aside_and_told(
    tmp_path: Path, damage: bytes | None, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "db"
    if damage is None:
        store = LastGood(path)
        store.accept(CLUSTER, [Accepted(str(n), "1", b"x" * 4000) for n in range(50)], (), whole=True)
        store.close()
        text = bytearray(path.read_bytes())
        text[4096 : 4096 * 8] = b"\xff" * (4096 * 7)
        damage = bytes(text)
    path.write_bytes(damage)
    with caplog.at_level(logging.ERROR):
        store = LastGood(path)
    assert store.everything() == {}
    assert "cannot be read" in caplog.text
    [aside] = tmp_path.glob("db.damaged-*")
    assert aside.read_bytes() == damage
    store.close()
