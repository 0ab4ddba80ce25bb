"""What a step found, and how it is shown."""

import json
import sys
from dataclasses import asdict, dataclass, field


@dataclass
class Check:
    """One expectation and what was seen."""

    expected: str
    observed: str
    passed: bool
    command: str = ""
    evidence: list[str] = field(default_factory=list)
    """Lines of the sidecar's access log."""


@dataclass
class Outcome:
    """One step."""

    number: int
    title: str
    claims: tuple[str, ...] = ()
    applied: list[str] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)
    error: str = ""

    @property
    def passed(self) -> bool:
        return not self.error and bool(self.checks) and all(check.passed for check in self.checks)


class Printer:
    """Prints as it happens."""

    def __init__(self) -> None:
        colours = sys.stdout.isatty()
        self._good, self._bad, self._plain = ("\033[32m", "\033[31m", "\033[0m") if colours else ("", "", "")

    def title(self, outcome: Outcome) -> None:
        print(f"\n{outcome.number}. {outcome.title}", flush=True)

    def applied(self, text: str) -> None:
        print(f"   applied   {text}", flush=True)

    def check(self, check: Check) -> None:
        if check.command:
            print(f"   command   {check.command}")
        print(f"   expected  {check.expected}")
        print(f"   observed  {check.observed}")
        for line in check.evidence:
            print(f"   sidecar   {line}")
        print(f"   {self._sign(check.passed)}", flush=True)

    def error(self, text: str) -> None:
        print(f"   error     {text}\n   {self._sign(False)}", flush=True)

    def summary(self, outcomes: list[Outcome]) -> None:
        print("\n" + "\n".join(f"{self._sign(o.passed)} {o.number}. {o.title}" for o in outcomes))

    def _sign(self, passed: bool) -> str:
        return f"{self._good}✔{self._plain}" if passed else f"{self._bad}✘{self._plain}"


class Silent(Printer):
    """For --json: everything at the end."""

    def title(self, outcome: Outcome) -> None: ...

    def applied(self, text: str) -> None: ...

    def check(self, check: Check) -> None: ...

    def error(self, text: str) -> None: ...

    def summary(self, outcomes: list[Outcome]) -> None:
        rows = [asdict(outcome) | {"passed": outcome.passed} for outcome in outcomes]
        print(json.dumps({"passed": all(o.passed for o in outcomes), "steps": rows}, indent=2, ensure_ascii=False))


class Recorder:
    """What a step uses to tell what it saw."""

    def __init__(self, outcome: Outcome, printer: Printer) -> None:
        self.outcome, self._printer = outcome, printer

    def applied(self, text: str) -> None:
        self.outcome.applied.append(text)
        self._printer.applied(text)

    def check(
        self, expected: str, observed: object, passed: bool, *, command: str = "", evidence: list[str] | None = None
    ) -> None:
        check = Check(expected, str(observed), passed, command, evidence or [])
        self.outcome.checks.append(check)
        self._printer.check(check)
