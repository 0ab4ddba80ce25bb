"""Every claim that holds is named by a test or a demo step, or stands here with the reason why none can show it yet."""

from pathlib import Path

import pytest

from tests.claims import ledger

ROOT = Path(__file__).resolve().parents[2]
NOT_YET = {"C001-13": "an optional accelerator (sockops), which is not built"}


@pytest.fixture(scope="module")
def named() -> dict[str, list[str]]:
    return ledger.named(ROOT)


@pytest.fixture
def claims(shared: Path) -> dict[str, ledger.Claim]:
    return ledger.claims((shared / "seeds-ledger.md").read_text(encoding="utf-8"))


def test_each_claim_that_holds_is_named(claims: dict[str, ledger.Claim], named: dict[str, list[str]]) -> None:
    missing = [name for name, claim in claims.items() if claim.demands and name not in named and name not in NOT_YET]
    assert not missing, "no test or demo step names them"


def test_only_claims_of_the_ledger_are_named(claims: dict[str, ledger.Claim], named: dict[str, list[str]]) -> None:
    unknown = {name: places for name, places in named.items() if name not in claims}
    assert not unknown


def test_no_reason_outlives_its_need(claims: dict[str, ledger.Claim], named: dict[str, list[str]]) -> None:
    needless = [name for name in NOT_YET if name in named or name not in claims]
    assert not needless, "named by a test now, or unknown: drop them from NOT_YET"
    assert all(claims[name].demands for name in NOT_YET)


def test_the_ledger_is_read_as_it_is_meant() -> None:
    text = "- C000-1 Something. OK (tcp only).\n- C004-7 It asks. WRONG: it does not. Test: nothing is asked.\n"
    found = ledger.claims(text + "- C002-3 ok without. ERA.\n- M001-2 How it works.\n  - C000-9 Indented. OK.\n")
    assert [(claim.name, claim.verdict, claim.demands) for claim in found.values()] == [
        ("C000-1", "OK", True),
        ("C004-7", "WRONG", True),
        ("C002-3", "ERA", False),
        ("M001-2", "", False),
    ]
