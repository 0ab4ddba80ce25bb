"""The ledger's claims, and who names them: tests by the marker ``claim``, demo steps by ``Listed(…, claims=…)``."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_CLAIM = re.compile(r"^- (?P<name>[CM]00[0-4]-\d+) (?P<text>.*)$", re.MULTILINE)
_VERDICT = re.compile(r"\b(OK|PARTLY|WRONG|ERA|GAP)\b")


@dataclass(frozen=True)
class Claim:
    """One line of the ledger."""

    name: str
    verdict: str
    """OK, PARTLY, WRONG, ERA or GAP; "" for a mechanism that was not judged."""
    remark: str
    """What follows the verdict."""

    @property
    def demands(self) -> bool:
        """Whether a test has to name it: it holds, or its remark asks for a test."""
        return self.verdict == "OK" or re.search(r"\b[Tt]est\b", self.remark) is not None


def claims(ledger: str) -> dict[str, Claim]:
    found = {}
    for line in _CLAIM.finditer(ledger):
        verdict = _VERDICT.search(line["text"])
        said, remark = (verdict[0], line["text"][verdict.end() :]) if verdict else ("", "")
        found[line["name"]] = Claim(line["name"], said, remark)
    return found


def named(root: Path) -> dict[str, list[str]]:
    """Claim -> the files that name it, below ``tests`` and ``demo`` of ``root``."""
    found: dict[str, list[str]] = {}
    for folder in ("tests", "demo"):
        for file in sorted((root / folder).rglob("*.py")):
            for name in _in_code(ast.parse(file.read_text(encoding="utf-8"))):
                found.setdefault(name, []).append(str(file.relative_to(root)))
    return found


def _in_code(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        if ast.unparse(node.func) == "pytest.mark.claim":
            yield from _texts(*node.args)
        elif isinstance(node.func, ast.Name) and node.func.id == "Listed":
            yield from _texts(*(word.value for word in node.keywords if word.arg == "claims"))


def _texts(*nodes: ast.expr) -> Iterator[str]:
    for node in nodes:
        yield from (part.value for part in ast.walk(node) if isinstance(part, ast.Constant))
