"""docs/seeds.md: its counts are right, and what it names is there."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "seeds.md").read_text(encoding="utf-8")
ROWS = dict(re.findall(r"^\| (R\d{3}) \| .*? \| ([^|]*) \|$", PAGE, re.MULTILINE))
MODULES = {"demo": "steps", **{seed: f"seeds/s{seed}" for seed in ("000", "001", "002", "003", "004")}}


def titles(module: str) -> list[str]:
    """Of a module's STEPS, those of the modules that it takes in with a star included."""
    tree = ast.parse((ROOT / "demo" / f"{module}.py").read_text(encoding="utf-8"))
    steps = next(n.value for n in tree.body if isinstance(n, ast.Assign) and ast.unparse(n.targets[0]) == "STEPS")
    assert isinstance(steps, ast.Tuple)
    found = []
    for part in steps.elts:
        if isinstance(part, ast.Starred) and isinstance(part.value, ast.Attribute):
            found += titles(f"seeds/{ast.unparse(part.value.value)}")
        elif isinstance(part, ast.Call):
            found.append(ast.literal_eval(part.args[0]))
    return found


STEPS = {name: titles(module) for name, module in MODULES.items()}


def named(text: str) -> set[tuple[str, int]]:
    """The steps that a row names: demo/3, seed 004/2, and 004/3 after it."""
    return {(group, int(number)) for group, number in re.findall(r"\b(demo|00[0-4])/(\d+)", text)}


def test_every_row_is_there_once() -> None:
    assert list(ROWS) == [f"R{number:03}" for number in range(1, 146)]


def test_the_counts_are_those_of_the_table() -> None:
    told = re.search(r"Of 145, (\d+) are shown, (\d+) partly, (\d+) not yet\.", PAGE)
    assert told is not None
    missing = sum(text.startswith("not yet") for text in ROWS.values())
    partly = sum(text.startswith("partly") for text in ROWS.values())
    assert tuple(map(int, told.groups())) == (145 - missing - partly, partly, missing)


def test_steps_and_tests_that_are_named_exist() -> None:
    absent = [
        (row, *step) for row, text in ROWS.items() for step in named(text) if not 0 < step[1] <= len(STEPS[step[0]])
    ]
    assert not absent
    paths = {path for text in ROWS.values() for path in re.findall(r"\btests/[\w/.]+\w", text)}
    assert paths and not [path for path in paths if not (ROOT / path).exists()]


def test_a_step_that_names_a_row_is_named_by_it() -> None:
    unnamed = [
        (row, f"{group}/{number}")
        for group, steps in STEPS.items()
        for number, title in enumerate(steps, 1)
        for row in re.findall(r"\bR\d{3}\b", title)
        if (group, number) not in named(ROWS[row])
    ]
    assert not unnamed
