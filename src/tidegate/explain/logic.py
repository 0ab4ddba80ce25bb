"""True, false, or not to be told from what is known (None)."""

from collections.abc import Iterable

Verdict = bool | None


def all_of(verdicts: Iterable[Verdict]) -> Verdict:
    """False as soon as one is, None where that hangs on what is not known."""
    unsure = False
    for each in verdicts:
        if each is False:
            return False
        unsure = unsure or each is None
    return None if unsure else True


def any_of(verdicts: Iterable[Verdict]) -> Verdict:
    unsure = False
    for each in verdicts:
        if each:
            return True
        unsure = unsure or each is None
    return None if unsure else False


def negated(verdict: Verdict) -> Verdict:
    return None if verdict is None else not verdict
