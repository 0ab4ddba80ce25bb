"""Cases drawn by hypothesis: a world, and connections that are opened in it."""

from collections.abc import Callable
from typing import Any, NamedTuple

from hypothesis import HealthCheck, Phase, assume, given, seed, settings
from hypothesis import strategies as st

from tests.equivalence.live import gateways, worlds
from tests.equivalence.live.draw import Json
from tests.equivalence.live.stage import Mode
from tidegate.answer.question import Question

CONNECTIONS = 20
ONE = settings(
    max_examples=1, phases=[Phase.generate], database=None, deadline=None, suppress_health_check=list(HealthCheck)
)


class Drawn(NamedTuple):
    documents: list[Json]
    questions: list[Question]

    def __repr__(self) -> str:
        return "the world that is told above, before it was made small"


@st.composite
def cases(draw: Any, mode: Mode) -> Drawn:
    assume(draw(st.integers(0, 2**32)))  # what hypothesis tries first is a world of first choices
    documents = draw(gateways.makes() if mode == "ROUTER" else worlds.worlds(mode))
    asked = gateways.questions(documents) if mode == "ROUTER" else worlds.questions(documents)
    return Drawn(documents, draw(st.lists(asked, min_size=CONNECTIONS, max_size=CONNECTIONS, unique_by=repr)))


def drawn(mode: Mode, number: str, check: Callable[[Drawn], None]) -> None:
    """Check one case, drawn by itself: of several hypothesis makes the later ones out of the earlier ones."""

    @seed(number)
    @ONE
    @given(cases(mode))
    def run(case: Drawn) -> None:
        check(case)

    run()
