"""Machines on which a program or a part of the kernel is missing: programs that say what the real ones say there."""

import stat
from pathlib import Path

import pytest

from tidegate.capture import kernel as kernel_module
from tidegate.capture.backend import choose
from tidegate.capture.kernel import CaptureError, Kernel
from tidegate.capture.native import read_native

NO_NFT = "iptables-nft-save v1.8.9 (nf_tables): Could not fetch rule set generation id: Invalid argument"
NO_LEGACY = "iptables-legacy-save v1.8.9 (legacy): can't initialize iptables table `nat': Table does not exist"
NO_CACHE = "netlink: Error: cache initialization failed: Operation not supported"


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with these programs alone."""
    monkeypatch.setattr(kernel_module, "_SEARCH_PATH", str(tmp_path))
    return tmp_path


def made(folder: Path, *names: str, says: str = "", code: int = 0, prints: str = "") -> None:
    for name in names:
        script = folder / name
        script.write_text(
            f"#!/bin/sh\nwhile read -r _; do :; done\necho '{prints}'\necho \"{says}\" >&2\nexit {code}\n"
        )
        script.chmod(stat.S_IRWXU)


def kind(name: str) -> list[str]:
    return [f"iptables-{name}-{action}" for action in ("save", "restore")]


def test_the_kind_that_the_kernel_has_is_chosen(programs: Path) -> None:
    made(programs, *kind("nft"), says=NO_NFT, code=1)
    made(programs, *kind("legacy"))
    chosen = choose(Kernel())
    assert chosen.binary == "legacy" and "the kernel has no nf_tables" in chosen.reason


def test_what_each_kind_fails_of_is_told_with_what_works_instead(programs: Path) -> None:
    made(programs, *kind("nft"), says=NO_NFT, code=1)
    made(programs, *kind("legacy"), says=NO_LEGACY.replace("`", "\\`"), code=1)
    with pytest.raises(CaptureError) as caught:
        choose(Kernel())
    told = str(caught.value)
    assert "lack nf_tables: load module nf_tables (modprobe nf_tables)" in told
    assert "lack the tables of iptables-legacy: load module ip_tables" in told
    assert "native nftables works" not in told


def test_lacking_rights_are_told_once(programs: Path) -> None:
    refused = "Permission denied (you must be root)"
    made(programs, *kind("nft"), *kind("legacy"), says=refused, code=1)
    with pytest.raises(CaptureError) as caught:
        choose(Kernel())
    assert str(caught.value).count("use sudo") == 1


def test_without_iptables_native_nftables_is_offered_where_it_works(programs: Path) -> None:
    made(programs, "nft", prints='{"nftables": []}')
    with pytest.raises(CaptureError, match="install the Debian package iptables; native nftables works: use --native"):
        choose(Kernel())


def test_without_nf_tables_native_nftables_names_what_works(programs: Path) -> None:
    made(programs, "nft", says=NO_CACHE, code=1)
    with pytest.raises(CaptureError, match=r"lack nf_tables: load module nf_tables .*--force-iptables-binary=legacy"):
        read_native(Kernel())


def test_a_forced_kind_that_is_not_installed_is_refused(programs: Path) -> None:
    made(programs, *kind("nft"))
    with pytest.raises(CaptureError, match="iptables-legacy-restore was not found; install the Debian package"):
        choose(Kernel(), "legacy")
