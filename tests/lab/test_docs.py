"""The tasks of docs/tasks, done as a newcomer does them: every shell block of every page, in order, on one demo lab.

A fenced block marked ``sh`` is run; one marked ``text`` after it is what it must print, with ``…`` for anything within
a line and a line of ``…`` for any lines. A block that only looks is run again until it shows what it should, as the
effect of a change takes its moment; one that changes something is run once.
"""

import itertools
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from tests.lab.labs import NEEDS, PATIENCE, UP_SECONDS, free_port
from tidegate.lab.state import Folders

pytestmark = NEEDS

ROOT = Path(__file__).resolve().parents[2]
TASKS = ROOT / "docs" / "tasks"
FIRST = "first-mesh"
PAGES = [
    FIRST,
    "egress-control",
    "canary",
    "faults",
    "redis-incident",
    "debugging-a-503",
    "from-istio",
    "access-control",
    "gateways",
    "explain-a-connection",
]
BLOCK_SECONDS = 60.0
PAUSE = 0.2
UP, DOWN = "tidegate lab up", "tidegate lab down"
_CHANGES = re.compile(r"\bkubectl (apply|create|delete|edit|label|patch|replace)\b|\btidegate lab (up|down)\b")
_ASKS_CONTROL_PLANE = re.compile(r"\btidegate (proxy-status|version)\b")
_KEPT = (
    "authorizationpolicies,configmaps,destinationrules,gateways,peerauthentications,requestauthentications,"
    "serviceentries,services,sidecars,virtualservices,workloadentries"
)
"""What a page must leave as it found it."""


@dataclass(frozen=True)
class Block:
    """A shell block and what it must print; None where the page does not say."""

    page: str
    line: int
    """Of the page, counted from 1."""
    shell: str
    expected: str | None

    def __str__(self) -> str:
        return f"docs/tasks/{self.page}.md:{self.line}"

    @property
    def changes(self) -> bool:
        return _CHANGES.search(self.shell) is not None


def blocks(page: str) -> list[Block]:
    """The page's shell blocks in order."""
    tokens = MarkdownIt().parse((TASKS / f"{page}.md").read_text())
    fences = [token for token in tokens if token.type == "fence"]
    found = []
    for fence, following in itertools.zip_longest(fences, fences[1:]):
        assert fence.info in {"sh", "text"}, f"{page}: a block of {fence.info!r} is not run"
        if fence.info == "sh":
            expected = following.content if following is not None and following.info == "text" else None
            found.append(Block(page, (fence.map or [0])[0] + 1, fence.content, expected))
    return found


def matches(expected: str, printed: str) -> bool:
    """Whether the output is the expected one; blanks at the ends of lines do not count."""
    pattern = "".join(_line_pattern(line) for line in expected.rstrip().splitlines())
    lines = [line.rstrip() for line in printed.rstrip().splitlines()]
    return re.fullmatch(pattern, "".join(f"{line}\n" for line in lines)) is not None


def _line_pattern(line: str) -> str:
    if line.strip() == "…":
        return r"(?:[^\n]*\n)*"
    return "[^\n]*".join(re.escape(part) for part in line.rstrip().split("…")) + "\n"


class Desk:
    """A newcomer's shell: the demo's folder, and a lab with a name, a port and folders of its own."""

    def __init__(self, base: Path) -> None:
        self.base, self.port = base, free_port()
        self.folders = Folders(base / "run", base / "state")
        name = f"d{os.urandom(4).hex()}"
        shutil.copytree(ROOT / "demo", base / "demo", ignore=shutil.ignore_patterns("__pycache__"))
        file = base / "demo" / "lab.yaml"
        own = f"name: {name}\ncontrolPlane: {{monitoringPort: {self.port}}}\n"
        text, replaced = re.subn(r"(?m)^name: demo\n", own, file.read_text())
        assert replaced == 1
        file.write_text(text)
        self.env = os.environ | {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "KUBECONFIG": str(self.folders.lab(name).kubeconfig),
            "TIDEGATE_RUN_DIR": str(self.folders.run),
            "TIDEGATE_STATE_DIR": str(self.folders.state),
        }

    def run(self, shell: str, seconds: float = BLOCK_SECONDS) -> subprocess.CompletedProcess[str]:
        """Run a block; standard error is part of what it prints, as on a terminal. Status 124: it took too long."""
        address = rf"tidegate \1 --xds-address http://127.0.0.1:{self.port}"
        return subprocess.run(
            ["timeout", str(seconds), "bash", "-euo", "pipefail", "-c", _ASKS_CONTROL_PLANE.sub(address, shell)],
            cwd=self.base,
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=seconds + PATIENCE,
        )

    def follow(self, block: Block, seconds: float = BLOCK_SECONDS) -> None:
        """Run a block and compare, until it is right or, where it may be run again, time is over."""
        deadline = time.monotonic() + PATIENCE
        while not _right(block, done := self.run(block.shell, seconds)):
            again = not block.changes and block.expected is not None and time.monotonic() < deadline
            assert again, f"{block}: exit status {done.returncode}, expected\n{block.expected}\nprinted\n{done.stdout}"
            time.sleep(PAUSE)

    def kept(self) -> str:
        """What a page must leave as it was: each object's name and what it says."""
        each = '{range .items[*]}{.kind} {.metadata.namespace}/{.metadata.name}: {.spec}{.data}{"\\n"}{end}'
        done = self.run(f"kubectl get {_KEPT} -A -o jsonpath='{each}'")
        assert done.returncode == 0, done.stdout
        return done.stdout


def _right(block: Block, done: subprocess.CompletedProcess[str]) -> bool:
    return done.returncode == 0 and (block.expected is None or matches(block.expected, done.stdout))


def _only(start: str) -> Block:
    """The one block of the first page that begins so: the lab comes and goes by it."""
    (found,) = (block for block in blocks(FIRST) if block.shell.startswith(start))
    return found


@pytest.fixture(scope="module")
def desk() -> Iterator[Desk]:
    base = Path(tempfile.mkdtemp(prefix="tgd"))
    base.chmod(0o755)
    made = Desk(base)
    try:
        made.follow(_only(UP), UP_SECONDS)
        yield made
    finally:
        made.run(f"{DOWN} -f demo/lab.yaml", UP_SECONDS)
        shutil.rmtree(base, ignore_errors=True)


@pytest.mark.parametrize("page", PAGES)
def test_a_page_works_as_it_is_written(desk: Desk, page: str) -> None:
    before = desk.kept()
    todo = [block for block in blocks(page) if not block.shell.startswith((UP, DOWN))]
    try:
        for block in todo:
            desk.follow(block)
    except AssertionError:
        desk.run(f"set +e\n{todo[-1].shell}")  # a page's last block puts back, for the pages that follow
        raise
    assert desk.kept() == before


def test_the_first_page_takes_the_lab_down(desk: Desk) -> None:
    """Runs after the pages, which need it."""
    desk.follow(_only(DOWN), UP_SECONDS)
    assert not desk.folders.state.joinpath("labs").exists() or not list(desk.folders.state.joinpath("labs").iterdir())


def test_every_page_is_run_and_linked() -> None:
    assert {path.stem for path in TASKS.glob("*.md")} == set(PAGES)
    readme = (ROOT / "README.md").read_text()
    assert [page for page in PAGES if f"(docs/tasks/{page}.md)" not in readme] == []


def test_the_pages_name_the_kubeconfig_that_the_demo_lab_has() -> None:
    (export,) = (block.shell for block in blocks(FIRST) if block.shell.startswith("export "))
    assert export == f"export KUBECONFIG={Folders().lab('demo').kubeconfig}\n"


@pytest.mark.parametrize(
    ("expected", "printed", "same"),
    [
        ("200\n", "200\n", True),
        ("200\n", "2000\n", False),
        ("a … c\n", "a b c\n", True),
        ("a … c\n", "a b d\n", False),
        ("a … c\n", "a b\n c\n", False),
        ("NAME  AGE\n", "NAME  AGE   \n", True),
        ("a\n…\nz\n", "a\nz\n", True),
        ("a\n…\nz\n", "a\nb\nc\nz\n", True),
        ("a\n…\nz\n", "a\nb\nc\n", False),
        ("a\n", "a\nb\n", False),
        ("…\n", "", True),
        ("a.c\n", "abc\n", False),
    ],
)
def test_expected_output_is_compared_line_by_line(expected: str, printed: str, same: bool) -> None:
    assert matches(expected, printed) is same
